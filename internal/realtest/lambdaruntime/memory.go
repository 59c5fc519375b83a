package lambdaruntime

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// PeakRSS is the most resident memory, in bytes, that the process has had: the kernel's own high-water mark while it lives, and as it was
// right before Kill or Stop. Of a process that ended by itself it is an upper bound, since the mark is gone then and what is
// left, the resource usage, begins with the memory of the program that called Start.
func (e *Environment) PeakRSS() int64 {
	e.samplePeak()
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.exited:
	default:
		return e.peakRSS
	}
	usage, ok := e.command.ProcessState.SysUsage().(*syscall.Rusage)
	if e.killed && e.peakRSS > 0 || !ok {
		return e.peakRSS
	}
	return max(e.peakRSS, usage.Maxrss*1024)
}

// samplePeak reads the mark while it can be read.
func (e *Environment) samplePeak() {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.exited: // the process ID may be another's by now
		return
	default:
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.command.Process.Pid))
	if err != nil {
		return // it ended just now
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err == nil {
				e.peakRSS = max(e.peakRSS, kilobytes*1024)
			}
		}
	}
}
