package wasmrt

import "slices"

// Check refuses what Compile would refuse before it compiles: what is no core
// module, is cut off, is a component, imports what there is not, or cannot be
// run as a command. It takes microseconds, and does not validate the code. The
// error is an *Error.
func Check(wasm []byte) error {
	o, err := examine(wasm)
	if err != nil {
		return err
	}
	return o.checkCommand()
}

// examine inspects a module and its imports, which WASI or host provides.
func examine(wasm []byte, host ...HostModule) (*outline, error) {
	o, err := inspect(wasm)
	if err != nil {
		return nil, err
	}
	return o, o.check(func(module, name string) bool {
		if module == wasiModule && slices.Contains(preview1(), name) {
			return true
		}
		return slices.ContainsFunc(host, func(h HostModule) bool {
			return h.Name == module && (len(h.Kernel) > 0 || slices.ContainsFunc(h.Functions, func(f HostFunction) bool { return f.Name == name }))
		})
	})
}

// preview1 are the functions of wasi_snapshot_preview1.
func preview1() []string {
	return []string{
		"args_get", "args_sizes_get", "environ_get", "environ_sizes_get", "clock_res_get", "clock_time_get",
		"fd_advise", "fd_allocate", "fd_close", "fd_datasync", "fd_fdstat_get", "fd_fdstat_set_flags",
		"fd_fdstat_set_rights", "fd_filestat_get", "fd_filestat_set_size", "fd_filestat_set_times", "fd_pread",
		"fd_prestat_get", "fd_prestat_dir_name", "fd_pwrite", "fd_read", "fd_readdir", "fd_renumber", "fd_seek",
		"fd_sync", "fd_tell", "fd_write", "path_create_directory", "path_filestat_get", "path_filestat_set_times",
		"path_link", "path_open", "path_readlink", "path_remove_directory", "path_rename", "path_symlink",
		"path_unlink_file", "poll_oneoff", "proc_exit", "proc_raise", "sched_yield", "random_get", "sock_accept",
		"sock_recv", "sock_send", "sock_shutdown",
	}
}
