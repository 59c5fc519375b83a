package pysyntax

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
)

// Options configures a Checker.
type Options struct {
	// Cache is a folder with ruff's machine code, made by Compile; "" if there is none. Without it, or if it was made for other processors or
	// by another build, sources are interpreted, some fifty times slower.
	Cache string
	// Make lets the checker make what is missing in Cache, for a machine that can spend 10 s and 1 GB once.
	Make bool
	// Workers is how many sources are checked at once; 0 is one for each processor, at most 4. Each takes some 10 MB, and up to 45 MB more once it
	// saw a source that is nested deeply; one with a large source, of which there is one at a time, up to 100 MB; and one with a hostile source
	// up to 200 MB for a moment.
	Workers int
	Log     *slog.Logger // nil: nobody is told that sources are interpreted
}

const (
	mostWorkers = 4
	// largeSource, in bytes, is what only one source at a time may exceed, since its tree takes much memory.
	largeSource = 128 << 10
	// keptMemory, in bytes, and keptValues are what an instance may have grown to and be used again: neither shrinks.
	keptMemory = 24 << 20
	keptValues = 100_000
	// Interpreted, a source takes 4 s for each MB.
	largestInterpreted = 256 << 10 // bytes
	longestInterpreted = 2 * time.Second
)

// Checker checks Python sources. It loads what it needs when it is first used. It may be used concurrently.
type Checker struct {
	options        Options
	newInterpreter func(context.Context) (*engine, error)
	slots, large   chan struct{} // taken by what is being checked

	load        sync.Once
	engine      *engine
	interpreted bool
	err         error // of loading

	mu   sync.Mutex
	idle []*instance
}

// New returns a Checker that has loaded nothing yet.
func New(o Options) *Checker {
	if o.Workers < 1 {
		o.Workers = min(runtime.GOMAXPROCS(0), mostWorkers)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Checker{options: o, newInterpreter: newInterpreter, slots: make(chan struct{}, o.Workers), large: make(chan struct{}, 1)}
}

// Load loads what Check needs, unless that was done, and returns when it is there. An error is what every Check will say.
func (c *Checker) Load() error {
	c.load.Do(func() {
		if err := c.open(context.Background()); err != nil {
			c.err = unchecked("the checker cannot run: %w", err)
		}
	})
	return c.err
}

// open sets the engine that works.
func (c *Checker) open(ctx context.Context) error {
	err := c.openCompiled(ctx)
	if err == nil {
		return nil
	}
	c.options.Log.Warn("Python files are checked by interpretation, which is slow", "why", err)
	c.interpreted = true
	e, err := c.newInterpreter(ctx)
	if err != nil {
		return err
	}
	return c.try(ctx, e)
}

func newInterpreter(ctx context.Context) (*engine, error) {
	wasm, err := wholeModule()
	if err != nil {
		return nil, err
	}
	return newEngine(ctx, wazero.NewRuntimeConfigInterpreter().WithCloseOnContextDone(true), wasm)
}

func (c *Checker) openCompiled(ctx context.Context) error {
	folder := c.options.Cache
	if folder == "" {
		return errors.New("there is no machine code")
	}
	e, err := openEngine(ctx, folder)
	if err == nil {
		err = c.try(ctx, e)
	}
	if err == nil || !c.options.Make {
		return err
	}
	c.options.Log.Info("compiling the syntax checker, once for this machine", "folder", folder)
	if err := Compile(ctx, folder); err != nil {
		return err
	}
	if e, err = openEngine(ctx, folder); err != nil {
		return err
	}
	return c.try(ctx, e)
}

// try takes the engine if it finds an error where there is one.
func (c *Checker) try(ctx context.Context, e *engine) error {
	in, err := e.newInstance(ctx)
	if err != nil {
		e.close(ctx)
		return err
	}
	found, err := in.check(ctx, []byte("(\n"), Python(""))
	if err != nil || len(found) == 0 {
		e.close(ctx)
		return fmt.Errorf("it does not work: %d errors in a wrong source: %w", len(found), err)
	}
	c.engine, c.idle = e, []*instance{in}
	return nil
}

// Close frees what was loaded. No Check may be under way or come later.
func (c *Checker) Close() {
	if c.engine != nil {
		c.engine.close(context.Background())
	}
}

// run checks a source with one of the instances.
func (c *Checker) run(ctx context.Context, source []byte, python string) ([]finding, error) {
	if err := c.Load(); err != nil {
		return nil, err
	}
	if c.interpreted && len(source) > largestInterpreted {
		return nil, unchecked("%d bytes are more than %d, the most without machine code", len(source), largestInterpreted)
	}
	if len(source) > largeSource {
		if err := acquire(ctx, c.large); err != nil {
			return nil, err
		}
		defer func() { <-c.large }()
	}
	if err := acquire(ctx, c.slots); err != nil {
		return nil, err
	}
	defer func() { <-c.slots }()
	in, err := c.take(ctx)
	if err != nil {
		return nil, unchecked("the checker cannot start: %w", err)
	}
	return c.runOn(ctx, in, source, python)
}

func acquire(ctx context.Context, places chan<- struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Checker) runOn(ctx context.Context, in *instance, source []byte, python string) ([]finding, error) {
	limited := context.WithoutCancel(ctx) // compiled code cannot be interrupted, and need not
	if c.interpreted {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, longestInterpreted)
		defer cancel()
	}
	found, err := in.check(limited, source, python)
	if err == nil {
		c.giveBack(in)
		return found, nil
	}
	in.close(context.WithoutCancel(ctx)) // after an error its memory may be in any state
	runtime.GC()                         // a source that is nested deeply leaves 100 MB of stacks, which would be kept until as much again is in use
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return nil, unchecked("it takes longer than %s without machine code", longestInterpreted)
	}
	return nil, unchecked("%w", err)
}

// take returns an instance that nobody uses.
func (c *Checker) take(ctx context.Context) (*instance, error) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		in := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		return in, nil
	}
	c.mu.Unlock()
	return c.engine.newInstance(context.WithoutCancel(ctx))
}

func (c *Checker) giveBack(in *instance) {
	if in.overflowed || in.memory() > keptMemory || in.heap.size() > keptValues {
		in.close(context.Background())
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, in)
}
