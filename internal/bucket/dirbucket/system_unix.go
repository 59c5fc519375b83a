//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package dirbucket

import (
	"io/fs"
	"os"
	"syscall"
)

// tryLock locks f against other processes, and other openings of it, until it is closed; false if it is taken.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == syscall.EWOULDBLOCK || err == syscall.EINTR {
		return false, nil
	}
	return err == nil, err
}

func inode(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Ino)
	}
	return 0
}
