package pysyntax

import (
	"context"
	"errors"
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
	// Make lets the checker make what is missing in Cache, for a machine that can spend 10 s and 500 MB once.
	Make bool
	// Workers is how many sources are checked at once; 0 is one for each processor, at most 4. Each takes some 10 MB, and up to 256 MB while it
	// checks the largest source.
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
	// Interpreted, a source takes 4 s for each MB, and fuel bounds nothing.
	largestInterpreted = 256 << 10 // bytes
	longestInterpreted = 2 * time.Second
)

// Checker checks Python sources. It loads what it needs when it is first used. It may be used concurrently.
type Checker struct {
	options Options
	slots   chan struct{}
	large   sync.Mutex

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
	return &Checker{options: o, slots: make(chan struct{}, o.Workers)}
}

// Load loads what Check needs, unless that was done, and returns when it is there. An error is what every Check will say.
func (c *Checker) Load() error {
	c.load.Do(func() {
		if c.engine, c.err = c.open(context.Background()); c.err != nil {
			c.err = unchecked("the checker cannot run: %w", c.err)
		}
	})
	return c.err
}

func (c *Checker) open(ctx context.Context) (*engine, error) {
	e, err := c.openCompiled(ctx)
	if err == nil {
		return e, nil
	}
	c.options.Log.Warn("Python files are checked by interpretation, which is slow", "why", err)
	c.interpreted = true
	return newEngine(ctx, wazero.NewRuntimeConfigInterpreter().WithCloseOnContextDone(true))
}

func (c *Checker) openCompiled(ctx context.Context) (*engine, error) {
	folder := c.options.Cache
	if folder == "" {
		return nil, errors.New("there is no machine code")
	}
	if err := checkCache(ctx, folder); err != nil {
		if !c.options.Make {
			return nil, err
		}
		c.options.Log.Info("compiling the syntax checker, once for this machine", "folder", folder)
	}
	return openEngine(ctx, folder)
}

// Close frees what was loaded. No Check may be under way or come later.
func (c *Checker) Close() {
	if c.engine != nil {
		c.engine.close(context.Background())
	}
}

// run checks a source with one of the instances.
func (c *Checker) run(ctx context.Context, source []byte, settings map[string]any) ([]finding, error) {
	if err := c.Load(); err != nil {
		return nil, err
	}
	if c.interpreted && len(source) > largestInterpreted {
		return nil, unchecked("%d bytes are more than %d, the most without machine code", len(source), largestInterpreted)
	}
	if len(source) > largeSource {
		c.large.Lock()
		defer c.large.Unlock()
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	in, err := c.take(ctx)
	if err != nil {
		return nil, unchecked("the checker cannot start: %w", err)
	}
	return c.runOn(ctx, in, source, settings)
}

func (c *Checker) runOn(ctx context.Context, in *instance, source []byte, settings map[string]any) ([]finding, error) {
	limited := context.WithoutCancel(ctx) // compiled code cannot be interrupted, and need not
	if c.interpreted {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, longestInterpreted)
		defer cancel()
	}
	found, err := in.check(limited, source, settings)
	switch {
	case err == nil && !in.overflowed:
		c.giveBack(in)
		return found, nil
	case err == nil:
		in.close(limited)
		return found, nil
	}
	in.close(context.WithoutCancel(ctx)) // after an error its memory may be in any state
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return nil, unchecked("it takes longer than %s without machine code", longestInterpreted)
	}
	return nil, unchecked("%w", err)
}

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
	if in.memory() > keptMemory || in.heap.size() > keptValues {
		in.close(context.Background())
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, in)
}
