package cloudrun

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// newLogFile is a file and no pipe: what the process wrote before it answered can be read once the answer is there. It is closed when
// nobody can read it any more.
func newLogFile() (*os.File, error) {
	file, err := os.CreateTemp("", "cloudrun-*.log")
	if err != nil {
		return nil, fmt.Errorf("a file for the function's log: %w", err)
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("a file for the function's log: %w", err), file.Close())
	}
	return file, nil
}

// Logs returns what the process wrote so far to its standard output and standard error.
func (i *Instance) Logs() []byte {
	const end = 1 << 62
	content, err := io.ReadAll(io.NewSectionReader(i.logs, 0, end)) // does not move the offset, which is the process's too
	if err != nil {
		return fmt.Appendf(content, "\n[the rest of the log cannot be read: %v]\n", err)
	}
	return content
}

// startError tells how a start ended, and what the process had to say.
func (i *Instance) startError(state string) error {
	const tail = 2000 // bytes
	logs := i.Logs()
	err := fmt.Errorf("the function did not start (%s); its log ends with:\n%s", state, logs[max(0, len(logs)-tail):])
	if bytes.Contains(logs, []byte("address already in use")) {
		return errors.Join(errPortTaken, err)
	}
	return err
}

// PeakRSS is the most resident memory, in bytes, that the process has had: the kernel's own high-water mark while it lives, and as
// it was right before Kill or Stop. Of a process that ended by itself before anybody asked, it is an upper bound, since what is left
// then, the resource usage, begins with the memory of the program that called Start.
func (i *Instance) PeakRSS() int64 {
	i.samplePeak()
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case <-i.exited:
		if usage, ok := i.command.ProcessState.SysUsage().(*syscall.Rusage); ok && i.peak == 0 {
			return usage.Maxrss * 1024
		}
	default:
	}
	return i.peak
}

// samplePeak reads the mark while it can be read.
func (i *Instance) samplePeak() {
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case <-i.exited: // the process ID may be another's by now
		return
	default:
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", i.command.Process.Pid))
	if err != nil {
		return // it ended just now
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err == nil {
				i.peak = max(i.peak, kilobytes*1024)
			}
		}
	}
}
