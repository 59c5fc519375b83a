//go:build unix

package pysyntax

import (
	"syscall"

	"github.com/tetratelabs/wazero/experimental"
)

// newMemory maps what an instance may grow to, of which the system gives what is used. Go's own memory would be copied as it grows, and given
// back late.
var newMemory = experimental.MemoryAllocatorFunc(func(_, most uint64) experimental.LinearMemory {
	data, err := syscall.Mmap(-1, 0, int(most), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(err) // wazero makes an error of it
	}
	return &mapped{data}
})

type mapped struct{ data []byte }

func (m *mapped) Reallocate(size uint64) []byte {
	if size > uint64(len(m.data)) {
		return nil
	}
	return m.data[:size:size]
}

func (m *mapped) Free() {
	_ = syscall.Munmap(m.data)
	m.data = nil
}
