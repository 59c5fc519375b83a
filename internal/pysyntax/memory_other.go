//go:build !unix

package pysyntax

import "github.com/tetratelabs/wazero/experimental"

// newMemory reserves what an instance may grow to.
var newMemory = experimental.MemoryAllocatorFunc(func(_, most uint64) experimental.LinearMemory {
	m := make(reserved, most)
	return &m
})

type reserved []byte

func (m *reserved) Reallocate(size uint64) []byte {
	if size > uint64(len(*m)) {
		return nil
	}
	return (*m)[:size:size]
}

func (m *reserved) Free() { *m = nil }
