package lambdaruntime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// logFile takes what the process writes to its standard output and standard error. It is a file and no pipe: what the
// process wrote can be read at once, so after its request for work nothing is missing.
type logFile struct {
	mu      sync.Mutex
	file    *os.File // without a name on disk; nil once closed
	content []byte   // everything, once closed
}

func newLogFile() (*logFile, error) {
	file, err := os.CreateTemp("", "lambdaruntime-*.log")
	if err != nil {
		return nil, fmt.Errorf("a file for the function's log: %w", err)
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("a file for the function's log: %w", err), file.Close())
	}
	return &logFile{file: file}, nil
}

// size is how many bytes were written so far.
func (l *logFile) size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return int64(len(l.content))
	}
	info, err := l.file.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// since returns a copy of what was written after the first from bytes.
func (l *logFile) since(from int64) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return bytes.Clone(l.content[min(from, int64(len(l.content))):])
	}
	return l.read(from)
}

// close keeps what was written and gives the file back. Closing twice is harmless.
func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return
	}
	l.content = l.read(0)
	_ = l.file.Close() // nothing of ours is left to be written
	l.file = nil
}

// read does not move the offset, which is the process's too. A log that cannot be read says so itself.
func (l *logFile) read(from int64) []byte {
	const end = 1 << 62
	content, err := io.ReadAll(io.NewSectionReader(l.file, from, end-from))
	if err != nil {
		return fmt.Appendf(content, "\n[the rest of the log cannot be read: %v]\n", err)
	}
	return content
}
