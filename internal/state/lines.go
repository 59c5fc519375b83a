package state

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
)

// linesAtOnce is how many values one processor encodes or decodes before another takes the next ones: some 200 KB of JSON.
const linesAtOnce = 500

// part is some values and their JSON, on their way through a processor.
type part[T any] struct {
	values []T
	text   bytes.Buffer
	err    error
	done   chan struct{} // closed when the work is done
}

// inOrder has parts worked on side by side, and hands each to finish in the order of their beginning. next returns nil after the last.
func inOrder[T any](next func() (*part[T], error), work func(*part[T]), finish func(*part[T]) error) error {
	var queue []*part[T]
	take := func() error {
		p := queue[0]
		queue = queue[1:]
		<-p.done
		if p.err != nil {
			return p.err
		}
		return finish(p)
	}
	for {
		p, err := next()
		if err == nil && p == nil {
			break
		}
		if err == nil && len(queue) > runtime.GOMAXPROCS(0) {
			err = take()
		}
		if err != nil {
			return err // what is under way ends by itself
		}
		p.done = make(chan struct{})
		queue = append(queue, p)
		go func() {
			defer close(p.done)
			work(p)
		}()
	}
	for len(queue) > 0 {
		if err := take(); err != nil {
			return err
		}
	}
	return nil
}

// writeLines writes each of values as JSON, on a line of its own, with between before each but the first.
func writeLines[T any](w io.Writer, values []T, between string) error {
	first := true
	next := func() (*part[T], error) {
		if len(values) == 0 {
			return nil, nil
		}
		p := &part[T]{values: values[:min(linesAtOnce, len(values))]}
		values = values[len(p.values):]
		return p, nil
	}
	encode := func(p *part[T]) {
		enc := json.NewEncoder(&p.text)
		enc.SetEscapeHTML(false)
		for i := range p.values {
			p.text.WriteString(between)
			p.err = errors.Join(p.err, enc.Encode(&p.values[i]))
		}
	}
	return inOrder(next, encode, func(p *part[T]) error {
		text := p.text.Bytes()
		if first {
			text, first = text[len(between):], false
		}
		_, err := w.Write(text)
		return err
	})
}

// readLines reads values, each on a line of its own, and hands them over in order: at most limit of them.
func readLines[T any](r io.Reader, limit int, take func(values []T)) error {
	lines := bufio.NewReaderSize(r, 256<<10)
	count := 0 // of lines, also of empty ones
	next := func() (*part[T], error) {
		p := &part[T]{}
		for n := 0; n < linesAtOnce; n++ {
			line, err := lines.ReadSlice('\n')
			for err == bufio.ErrBufferFull {
				p.text.Write(line)
				line, err = lines.ReadSlice('\n')
			}
			p.text.Write(line)
			if len(line) > 0 {
				count++
			}
			if count > limit {
				return nil, fmt.Errorf("it has more than %d lines", limit)
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
		}
		if p.text.Len() == 0 {
			return nil, nil
		}
		return p, nil
	}
	return inOrder(next, decode[T], func(p *part[T]) error {
		take(p.values)
		return nil
	})
}

func decode[T any](p *part[T]) {
	for line := range bytes.Lines(p.text.Bytes()) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if p.values == nil {
			p.values = make([]T, 0, linesAtOnce)
		}
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			p.err = err
			return
		}
		p.values = append(p.values, v)
	}
}
