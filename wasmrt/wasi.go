package wasmrt

import (
	"context"
	"crypto/rand"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	wasi "github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// maxTransfer bounds the bytes that one call reads or writes, so that no call
// takes long. Callers have to expect to get less than they ask for.
const maxTransfer = 1 << 20

// maxVectors bounds the buffers of one call, as IOV_MAX does elsewhere.
const maxVectors = 1024

// maxPath bounds paths in bytes.
const maxPath = 4096

// buildWASI puts preview 1 into the runtime. The end of a guest
// and the rest that needs nothing of it are wazero's. Files, sockets and waiting are ours: there, waiting
// knows one thing at a time and no end when the guest is stopped, symbolic
// links lead out of a mount, and descriptors are not counted.
func buildWASI(ctx context.Context, r wazero.Runtime) (map[string]api.FunctionDefinition, error) {
	b := r.NewHostModuleBuilder(wasiModule)
	wasi.NewFunctionExporter().ExportFunctions(b)
	for _, f := range wasiFunctions() {
		b.NewFunctionBuilder().
			WithGoModuleFunction(f, f.types(), []api.ValueType{api.ValueTypeI32}).
			Export(f.name)
	}
	c, err := b.Compile(ctx)
	if err != nil {
		return nil, err
	}
	_, err = r.InstantiateModule(ctx, c, wazero.NewModuleConfig().WithName(wasiModule))
	return c.ExportedFunctions(), err
}

// wasiFunction is one function of preview 1. Its result is an errno.
type wasiFunction struct {
	name   string
	params string // a letter for each: i is 32 bits, I is 64
	call   func(wasiCall) errno
}

func (f wasiFunction) types() []api.ValueType {
	var types []api.ValueType
	for _, p := range f.params {
		t := api.ValueTypeI32
		if p == 'I' {
			t = api.ValueTypeI64
		}
		types = append(types, t)
	}
	return types
}

// Call implements api.GoModuleFunction.
func (f wasiFunction) Call(ctx context.Context, mod api.Module, stack []uint64) {
	i := instanceOf(ctx)
	stack[0] = uint64(f.call(wasiCall{ctx: ctx, instance: i, files: i.files, memory: mod.Memory(), stack: stack}))
	i.returned()
}

func wasiFunctions() []wasiFunction {
	return []wasiFunction{
		{"args_get", "ii", argsGet},
		{"args_sizes_get", "ii", argsSizesGet},
		{"clock_time_get", "iIi", clockTimeGet},
		{"environ_get", "ii", environGet},
		{"environ_sizes_get", "ii", environSizesGet},
		{"fd_advise", "iIIi", fdAdvise},
		{"fd_allocate", "iII", fdAllocate},
		{"fd_close", "i", fdClose},
		{"fd_datasync", "i", fdSync},
		{"fd_fdstat_get", "ii", fdFdstatGet},
		{"fd_fdstat_set_flags", "ii", fdFdstatSetFlags},
		{"fd_fdstat_set_rights", "iII", fdFdstatSetRights},
		{"fd_filestat_get", "ii", fdFilestatGet},
		{"fd_filestat_set_size", "iI", fdFilestatSetSize},
		{"fd_filestat_set_times", "iIIi", fdFilestatSetTimes},
		{"fd_pread", "iiiIi", fdPread},
		{"fd_prestat_get", "ii", fdPrestatGet},
		{"fd_prestat_dir_name", "iii", fdPrestatDirName},
		{"fd_pwrite", "iiiIi", fdPwrite},
		{"fd_read", "iiii", fdRead},
		{"fd_readdir", "iiiIi", fdReaddir},
		{"fd_renumber", "ii", fdRenumber},
		{"fd_seek", "iIii", fdSeek},
		{"fd_sync", "i", fdSync},
		{"fd_tell", "ii", fdTell},
		{"fd_write", "iiii", fdWrite},
		{"path_create_directory", "iii", pathCreateDirectory},
		{"path_filestat_get", "iiiii", pathFilestatGet},
		{"path_filestat_set_times", "iiiiIIi", pathFilestatSetTimes},
		{"path_link", "iiiiiii", pathLink},
		{"path_open", "iiiiiIIii", pathOpen},
		{"path_readlink", "iiiiii", pathReadlink},
		{"path_remove_directory", "iii", pathRemoveDirectory},
		{"path_rename", "iiiiii", pathRename},
		{"path_symlink", "iiiii", pathSymlink},
		{"path_unlink_file", "iii", pathUnlinkFile},
		{"poll_oneoff", "iiii", pollOneoff},
		{"random_get", "ii", randomGet},
		{"sock_accept", "iii", sockAccept},
		{"sock_recv", "iiiiii", sockRecv},
		{"sock_send", "iiiii", sockSend},
		{"sock_shutdown", "ii", sockShutdown},
	}
}

// wasiCall is one call of the guest's.
type wasiCall struct {
	ctx      context.Context //nolint:containedctx // it lives as long as the call
	instance *Instance
	files    *files
	memory   api.Memory
	stack    []uint64 // the parameters
}

func (c wasiCall) u32(n int) uint32 { return uint32(c.stack[n]) } //nolint:gosec // an i32 parameter

func (c wasiCall) u64(n int) uint64 { return c.stack[n] }

// offset is a parameter that counts bytes in a file.
func (c wasiCall) offset(n int) (int64, errno) {
	if c.stack[n] > math.MaxInt64 {
		return 0, errnoInval
	}
	return int64(c.stack[n]), success
}

// view is the guest's memory that two parameters say, the second its length.
func (c wasiCall) view(n int) ([]byte, errno) { return c.viewAt(c.u32(n), c.u32(n+1)) }

func (c wasiCall) viewAt(at, size uint32) ([]byte, errno) {
	b, ok := c.memory.Read(at, size)
	if !ok {
		return nil, errnoFault
	}
	return b, success
}

// path is a path that two parameters say. It is copied, so that it stays.
func (c wasiCall) path(n int) (string, errno) {
	if c.u32(n+1) > maxPath {
		return "", errnoNametoolong
	}
	b, e := c.view(n)
	switch {
	case e != success:
		return "", e
	case len(b) == 0:
		return "", errnoNoent
	case !utf8.Valid(b):
		return "", errnoIlseq
	case slices.Contains(b, 0):
		return "", errnoInval
	}
	return string(b), success
}

// put32 and put64 store a result where a parameter says.
func (c wasiCall) put32(n int, v uint32) errno {
	if !c.memory.WriteUint32Le(c.u32(n), v) {
		return errnoFault
	}
	return success
}

func (c wasiCall) put64(n int, v uint64) errno {
	if !c.memory.WriteUint64Le(c.u32(n), v) {
		return errnoFault
	}
	return success
}

// vectors calls do for each buffer of a list that two parameters say, until
// one is not used up, and returns the sum of what was.
func (c wasiCall) vectors(n int, do func([]byte) (int, errno)) (uint32, errno) {
	count := c.u32(n + 1)
	if count > maxVectors {
		return 0, errnoInval
	}
	list, e := c.viewAt(c.u32(n), count*8)
	if e != success {
		return 0, e
	}
	var sum uint32
	for ; len(list) > 0 && sum < maxTransfer; list = list[8:] {
		size := le.Uint32(list[4:])
		b, e := c.viewAt(le.Uint32(list), size)
		if e != success {
			return 0, e
		}
		if size == 0 {
			continue
		}
		b = b[:min(size, maxTransfer-sum)]
		used, e := do(b)
		sum += uint32(used) //nolint:gosec // at most maxTransfer
		switch {
		case e != success && sum > 0:
			return sum, success // the error comes again with the next call
		case e != success:
			return 0, e
		case used < len(b):
			return sum, success
		}
	}
	return sum, success
}

// goOn ends the guest on the spot if it is to end.
func (c wasiCall) goOn() {
	if call := callOf(c.ctx); c.instance.interrupted(call) {
		c.instance.interrupt(call)
	}
}

// randomGet fills memory in pieces, as it may be large.
func randomGet(c wasiCall) errno {
	b, e := c.view(0)
	if e != success {
		return e
	}
	for len(b) > 0 {
		piece := b[:min(len(b), 64<<10)]
		if _, err := rand.Read(piece); err != nil {
			return errnoIo
		}
		b = b[len(piece):]
		c.goOn()
	}
	return success
}
