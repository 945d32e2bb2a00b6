package ecrlocaltest

import "syscall"

// inMemory returns a directory whose files are in memory and have room for what tests
// push, "" where there is none. Containers give /dev/shm 64 MB, which is not enough.
func inMemory() string {
	const dir, enough = "/dev/shm", 1 << 30
	var room syscall.Statfs_t
	if err := syscall.Statfs(dir, &room); err != nil || room.Bavail*uint64(room.Bsize) < enough { //nolint:gosec // a size of blocks is positive
		return ""
	}
	return dir
}
