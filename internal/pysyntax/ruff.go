package pysyntax

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/dagbucket/dagbucket/internal/pysyntax/meter"
)

// The module is ruff_wasm_bg.wasm of the npm package @astral-sh/ruff-wasm-nodejs in release Version, metered, and split into the code of its
// functions and the rest (package meter): what has machine code needs the rest only.
var (
	//go:embed ruff/ruff_wasm_bg.hollow.wasm.zst
	hollowCompressed []byte
	//go:embed ruff/ruff_wasm_bg.code.zst
	codeCompressed []byte
)

// hollowModule returns the module without code.
func hollowModule() ([]byte, error) { return decompress(hollowCompressed) }

// wholeModule returns the module.
func wholeModule() ([]byte, error) {
	hollow, err := hollowModule()
	if err != nil {
		return nil, err
	}
	code, err := decompress(codeCompressed)
	if err != nil {
		return nil, err
	}
	return meter.Join(hollow, code)
}

func decompress(data []byte) ([]byte, error) {
	const limit = 64 << 20 // bytes
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(limit))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.DecodeAll(data, nil)
}

const (
	importsName = "./ruff_wasm_bg.js" // the module's name for its host
	ruffName    = "ruff"              // the table's name for the module
	// memoryPages, of 64 KiB, bounds what one file can make an instance take: 96 MiB.
	memoryPages = 1536
	// Fuel bounds the rounds of loops and calls of functions for one file, to about half a second. Sources that people write take up to 13 units
	// for each byte; the hardest one of 19,000 took 30 million.
	fuelBase    = 1 << 26
	fuelForByte = 64
)

// table is a module that imports ruff's table of references and hands it to the host, which wazero has no call for:
//
//	(module (import "ruff" "__wbindgen_externrefs" (table $t 0 externref))
//	  (func (export "get") (param i32) (result externref) (table.get $t (local.get 0)))
//	  (func (export "set") (param i32 externref) (table.set $t (local.get 0) (local.get 1)))
//	  (func (export "grow") (param i32) (result i32) (table.grow $t (ref.null extern) (local.get 0))))
var table = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x10\x03\x60\x01\x7f\x01\x6f\x60\x02\x7f\x6f\x00\x60\x01\x7f\x01\x7f" + // types
	"\x02\x20\x01\x04ruff\x15__wbindgen_externrefs\x01\x6f\x00\x00" + // import
	"\x03\x04\x03\x00\x01\x02" + // functions
	"\x07\x14\x03\x03get\x00\x00\x03set\x00\x01\x04grow\x00\x02" + // exports
	"\x0a\x1b\x03\x06\x00\x20\x00\x25\x00\x0b\x08\x00\x20\x00\x20\x01\x26\x00\x0b\x09\x00\xd0\x6f\x20\x00\xfc\x0f\x00\x0b")

// engine is ruff's module, compiled.
type engine struct {
	runtime     wazero.Runtime
	cache       wazero.CompilationCache // or nil
	ruff, table wazero.CompiledModule
}

func engineConfig(c wazero.RuntimeConfig) wazero.RuntimeConfig {
	return c.WithMemoryLimitPages(memoryPages)
}

// newEngine makes an engine of ruff's module, or of the hollow one if the cache of config has the machine code for it.
func newEngine(ctx context.Context, config wazero.RuntimeConfig, wasm []byte) (*engine, error) {
	e := &engine{runtime: wazero.NewRuntimeWithConfig(ctx, engineConfig(config))}
	if err := e.compile(ctx, wasm); err != nil {
		_ = e.runtime.Close(ctx)
		return nil, err
	}
	return e, nil
}

func (e *engine) compile(ctx context.Context, wasm []byte) (err error) {
	if e.ruff, err = e.runtime.CompileModule(ctx, wasm); err != nil {
		return err
	}
	if e.table, err = e.runtime.CompileModule(ctx, table); err != nil {
		return err
	}
	builder := e.runtime.NewHostModuleBuilder(importsName)
	for _, f := range e.ruff.ImportedFunctions() {
		_, name, _ := f.Import()
		builder.NewFunctionBuilder().WithGoModuleFunction(host(name), f.ParamTypes(), f.ResultTypes()).Export(name)
	}
	_, err = builder.Instantiate(ctx)
	return err
}

func (e *engine) close(ctx context.Context) {
	_ = e.runtime.Close(ctx)
	if e.cache != nil {
		_ = e.cache.Close(ctx)
	}
}

// instance is one ruff at work, for one Python version at a time. It must not be used concurrently, and not after an error.
type instance struct {
	ruff, table api.Module
	exports     map[string]api.Function // each keeps the stack that it grew: growing it takes a tenth of a check
	heap        *heap
	mark        int               // values below are the instance's own
	workspaces  map[string]uint32 // by Python version
	panicked    string            // what the module said before it trapped
	overflowed  bool              // it had more findings than are taken
}

type instanceKey struct{}

// in returns ctx for calls of an instance.
func (in *instance) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, instanceKey{}, in)
}

func (e *engine) newInstance(ctx context.Context) (in *instance, err error) {
	in = &instance{exports: map[string]api.Function{}, heap: newHeap(), workspaces: map[string]uint32{}}
	ctx = experimental.WithMemoryAllocator(in.in(ctx), newMemory)
	if in.ruff, err = e.runtime.InstantiateModule(ctx, e.ruff, wazero.NewModuleConfig().WithName("").WithStartFunctions()); err != nil {
		return nil, err
	}
	resolved := experimental.WithImportResolver(ctx, func(name string) api.Module {
		if name == ruffName {
			return in.ruff
		}
		return nil
	})
	if in.table, err = e.runtime.InstantiateModule(resolved, e.table, wazero.NewModuleConfig().WithName("")); err == nil {
		_, err = in.call(ctx, "__wbindgen_start")
	}
	if err != nil {
		in.close(ctx)
		return nil, err
	}
	return in, nil
}

func (in *instance) close(ctx context.Context) {
	if in.table != nil {
		_ = in.table.Close(ctx)
	}
	_ = in.ruff.Close(ctx)
}

// initTable fills the places of the constants, as the module's JavaScript does.
func (in *instance) initTable(ctx context.Context) {
	const constants = 4 // undefined, null, true, false
	offset := must(in.table.ExportedFunction("grow").Call(ctx, constants))[0]
	for i, v := range []any{nil, nil, true, false} {
		must(in.table.ExportedFunction("set").Call(ctx, offset+uint64(i), in.heap.add(v)))
	}
}

func must(results []uint64, err error) []uint64 {
	if err != nil {
		panic(err)
	}
	return results
}

// call calls an export. ctx says to the host's functions whose instance it is.
func (in *instance) call(ctx context.Context, name string, args ...uint64) ([]uint64, error) {
	in.panicked = ""
	f, ok := in.exports[name]
	if !ok {
		f = in.ruff.ExportedFunction(name)
		in.exports[name] = f
	}
	results, err := f.Call(ctx, args...)
	if err != nil && in.panicked != "" {
		err = fmt.Errorf("%s: %w", in.panicked, err)
	}
	return results, err
}

// finding is one element of what Workspace.check returns.
type finding struct {
	Message string `json:"message"`
	Start   struct {
		Row    int `json:"row"`
		Column int `json:"column"`
	} `json:"start_location"`
}

// check returns what ruff finds in a source, which must be UTF-8, for one of Versions.
func (in *instance) check(ctx context.Context, source []byte, python string) ([]finding, error) {
	defer func() { in.heap.forget(in.mark) }()
	ctx = in.in(ctx)
	in.setFuel(fuelBase + fuelForByte*uint64(len(source)))
	answer, err := in.ask(ctx, source, python)
	if err != nil && in.overflowed {
		return in.firstFinding()
	}
	if err != nil {
		return nil, in.explain(err)
	}
	var found []finding
	return found, decodeValue(answer, &found)
}

// ask returns what Workspace.check returns.
func (in *instance) ask(ctx context.Context, source []byte, python string) (any, error) {
	workspace, err := in.workspace(ctx, python)
	if err != nil {
		return nil, err
	}
	ptr, n, err := in.send(ctx, source)
	if err != nil {
		return nil, err
	}
	results, err := in.call(ctx, "workspace_check", uint64(workspace), uint64(ptr), uint64(n)) // it frees the source
	if err != nil {
		return nil, err
	}
	if isError(results) {
		return nil, in.takeError(ctx, results)
	}
	return in.take(ctx, api.DecodeU32(results[0]))
}

// explain says in the words of a source why a check ended in a trap.
func (in *instance) explain(err error) error {
	text, _, _ := strings.Cut(err.Error(), "\n") // without wazero's stack
	switch {
	case in.fuelLeft() == 0:
		return errors.New("it takes too long to parse")
	case strings.Contains(text, "stack overflow"), strings.Contains(text, "out of bounds memory access"): // of Go's stack, or the module's own
		return errors.New("it is nested too deeply to be parsed")
	case in.memory() >= memoryPages<<16*3/4:
		return errors.New("it takes too much memory to parse")
	}
	return fmt.Errorf("ruff failed: %s", text)
}

// workspace returns the one for a Python version.
func (in *instance) workspace(ctx context.Context, python string) (uint32, error) {
	if ptr, ok := in.workspaces[python]; ok {
		return ptr, nil
	}
	const utf32 = 2 // columns count characters
	results, err := in.call(ctx, "workspace_new", in.heap.add(settings(python)), utf32)
	if err != nil {
		return 0, err
	}
	if isError(results) {
		return 0, in.takeError(ctx, results)
	}
	in.workspaces[python] = api.DecodeU32(results[0])
	in.mark = in.heap.size()
	return in.workspaces[python], nil
}

// isError reports whether of an export's results (an answer, an error, which of them it is) the error counts.
func isError(results []uint64) bool { return api.DecodeU32(results[2]) != 0 }

func (in *instance) takeError(ctx context.Context, results []uint64) error {
	v, err := in.take(ctx, api.DecodeU32(results[1]))
	if err != nil {
		return err
	}
	return errors.New(text(v))
}

// take takes the value at a place of the table.
func (in *instance) take(ctx context.Context, at uint32) (any, error) {
	ref, err := in.table.ExportedFunction("get").Call(ctx, uint64(at))
	if err != nil {
		return nil, err
	}
	if _, err := in.call(ctx, "__externref_table_dealloc", uint64(at)); err != nil {
		return nil, err
	}
	if ref[0] >= uint64(in.heap.size()) {
		return nil, errors.New("no answer")
	}
	return in.heap.get(ref[0]), nil
}

func (in *instance) setFuel(n uint64) { in.ruff.ExportedGlobal(meter.Fuel).(api.MutableGlobal).Set(n) }

func (in *instance) fuelLeft() uint64 { return in.ruff.ExportedGlobal(meter.Fuel).Get() }

// send copies bytes into the module's memory.
func (in *instance) send(ctx context.Context, data []byte) (ptr, n uint32, err error) {
	results, err := in.ruff.ExportedFunction("__wbindgen_malloc").Call(ctx, uint64(len(data)), 1)
	if err != nil {
		return 0, 0, err
	}
	ptr = api.DecodeU32(results[0])
	if !in.ruff.Memory().Write(ptr, data) {
		return 0, 0, errors.New("ruff has no memory for the source")
	}
	return ptr, uint32(len(data)), nil
}

// put is send for a host function.
func (in *instance) put(ctx context.Context, s string) (ptr, n uint32) {
	ptr, n, err := in.send(ctx, []byte(s))
	if err != nil {
		panic(err)
	}
	return ptr, n
}

// memory is how large it is, in bytes.
func (in *instance) memory() uint32 { return in.ruff.Memory().Size() }

func (in *instance) bytes(ptr, n uint32) []byte {
	b, ok := in.ruff.Memory().Read(ptr, n)
	if !ok {
		panic("a string outside of the memory")
	}
	return b
}

func (in *instance) write(at, v uint32) {
	if !in.ruff.Memory().WriteUint32Le(at, v) {
		panic("a word outside of the memory")
	}
}

// valuesLimit bounds the values of one answer: some 6,000 findings.
const valuesLimit = 200_000

func (in *instance) countValues() {
	if in.heap.size()-in.mark > valuesLimit {
		in.overflowed = true
		panic("too many findings")
	}
}

// firstFinding is what a check that ended early had found.
func (in *instance) firstFinding() ([]finding, error) {
	for _, v := range in.heap.values[in.mark:] {
		if a, ok := v.(*array); ok && len(a.items) > 0 { // the outermost one
			found := make([]finding, 1)
			return found, decodeValue(a.items[0], &found[0])
		}
	}
	return nil, errors.New("it has too many errors to list")
}
