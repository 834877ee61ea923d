package wasmrt

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// le is WebAssembly's order of bytes.
var le = binary.LittleEndian //nolint:gochecknoglobals // a short name

// errno is an error number of preview 1.
type errno uint16

const (
	success          errno = 0
	errnoAcces       errno = 2
	errnoAgain       errno = 6
	errnoBadf        errno = 8
	errnoBusy        errno = 10
	errnoConnaborted errno = 13
	errnoConnreset   errno = 15
	errnoDquot       errno = 19
	errnoExist       errno = 20
	errnoFault       errno = 21
	errnoFbig        errno = 22
	errnoIlseq       errno = 25
	errnoIntr        errno = 27
	errnoInval       errno = 28
	errnoIo          errno = 29
	errnoIsdir       errno = 31
	errnoLoop        errno = 32
	errnoMfile       errno = 33
	errnoMlink       errno = 34
	errnoNametoolong errno = 37
	errnoNfile       errno = 41
	errnoNoent       errno = 44
	errnoNomem       errno = 48
	errnoNospc       errno = 51
	errnoNosys       errno = 52
	errnoNotconn     errno = 53
	errnoNotdir      errno = 54
	errnoNotempty    errno = 55
	errnoNotsock     errno = 57
	errnoNotsup      errno = 58
	errnoNxio        errno = 60
	errnoOverflow    errno = 61
	errnoPerm        errno = 63
	errnoPipe        errno = 64
	errnoRange       errno = 68
	errnoRofs        errno = 69
	errnoSpipe       errno = 70
	errnoTimedout    errno = 73
	errnoTxtbsy      errno = 74
	errnoXdev        errno = 75
)

// errnoOf is the number of a host's error.
func errnoOf(err error) errno {
	if err == nil {
		return success
	}
	if host, ok := errors.AsType[syscall.Errno](err); ok {
		return errnoOfSystem(host)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errnoNoent
	case errors.Is(err, fs.ErrExist):
		return errnoExist
	case errors.Is(err, fs.ErrClosed):
		return errnoBadf
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errnoTimedout
	case errors.Is(err, fs.ErrPermission):
		return errnoPerm
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return errnoPerm // of os.Root: the path leads out of it
	}
	if _, ok := errors.AsType[*os.LinkError](err); ok {
		return errnoPerm
	}
	return errnoIo
}

func errnoOfSystem(host syscall.Errno) errno {
	for _, known := range [...]struct {
		host  syscall.Errno
		guest errno
	}{
		{syscall.EACCES, errnoAcces},
		{syscall.EAGAIN, errnoAgain},
		{syscall.EBADF, errnoBadf},
		{syscall.EBUSY, errnoBusy},
		{syscall.ECONNABORTED, errnoConnaborted},
		{syscall.ECONNRESET, errnoConnreset},
		{syscall.EDQUOT, errnoDquot},
		{syscall.EEXIST, errnoExist},
		{syscall.EFBIG, errnoFbig},
		{syscall.EINTR, errnoIntr},
		{syscall.EINVAL, errnoInval},
		{syscall.EISDIR, errnoIsdir},
		{syscall.ELOOP, errnoLoop},
		{syscall.EMFILE, errnoMfile},
		{syscall.EMLINK, errnoMlink},
		{syscall.ENAMETOOLONG, errnoNametoolong},
		{syscall.ENFILE, errnoNfile},
		{syscall.ENOENT, errnoNoent},
		{syscall.ENOMEM, errnoNomem},
		{syscall.ENOSPC, errnoNospc},
		{syscall.ENOSYS, errnoNosys},
		{syscall.ENOTCONN, errnoNotconn},
		{syscall.ENOTDIR, errnoNotdir},
		{syscall.ENOTEMPTY, errnoNotempty},
		{syscall.ENOTSUP, errnoNotsup},
		{syscall.ENXIO, errnoNxio},
		{syscall.EOVERFLOW, errnoOverflow},
		{syscall.EPERM, errnoPerm},
		{syscall.EPIPE, errnoPipe},
		{syscall.ERANGE, errnoRange},
		{syscall.EROFS, errnoRofs},
		{syscall.ESPIPE, errnoSpipe},
		{syscall.ETIMEDOUT, errnoTimedout},
		{syscall.ETXTBSY, errnoTxtbsy},
		{syscall.EXDEV, errnoXdev},
	} {
		if known.host == host {
			return known.guest
		}
	}
	return errnoIo
}
