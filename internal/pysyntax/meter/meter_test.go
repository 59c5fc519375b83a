package meter

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Pieces of modules, as the binary format has them.
const (
	i32      = 0x7F
	funcref  = 0x70
	empty    = 0x40
	end      = 0x0B
	localGet = 0x20
	localSet = 0x21
	i32Const = 0x41
)

func vec(items ...[]byte) []byte {
	return append(appendU32(nil, uint32(len(items))), slices.Concat(items...)...)
}

func sectionOf(id byte, items ...[]byte) []byte { return appendBytes([]byte{id}, vec(items...)) }

func code(locals []byte, body ...byte) []byte {
	return appendBytes(nil, append(append(locals, body...), end))
}

func export(name string, kind byte, index uint32) []byte { return appendExport(nil, name, kind, index) }

func moduleOf(sections ...[]byte) []byte { return slices.Concat(header, slices.Concat(sections...)) }

var (
	noLocals   = []byte{0}
	oneLocal   = []byte{1, 1, i32}
	types      = sectionOf(1, []byte{0x60, 0, 0}, []byte{0x60, 1, i32, 1, i32}) // () -> (), (i32) -> i32
	oneGlobal  = sectionOf(globalSection, []byte{i32, 0, i32Const, 7, end})
	noGlobals  = sectionOf(globalSection)
	loopBody   = []byte{0x03, empty, 0x0C, 0, end}                                                       // loop, br 0
	countdown  = []byte{0x03, empty, localGet, 0, i32Const, 1, 0x6B, 0x22, 0, 0x0D, 0, end, localGet, 0} // until the parameter is 0
	importHost = sectionOf(importSection, slices.Concat([]byte{1, 'h', 1, 'f', kindFunction, 0}), []byte{1, 'h', 1, 'g', kindGlobal, i32, 0})
)

// countdownModule exports run(n), which goes n rounds, and other things.
var countdownModule = moduleOf(types, sectionOf(3, []byte{1}, []byte{0}), oneGlobal,
	sectionOf(exportSection, export("run", kindFunction, 0), export("other", kindFunction, 1), export("seven", kindGlobal, 0)),
	sectionOf(codeSection, code(noLocals, countdown...), code(noLocals, loopBody...)))

type running struct {
	t *testing.T
	api.Module
}

// run instantiates a module with the imports of importHost.
func run(t *testing.T, module []byte) running {
	t.Helper()
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() { require.NoError(t, r.Close(context.Background())) })
	m, err := r.InstantiateWithConfig(t.Context(), module, wazero.NewModuleConfig().WithStartFunctions())
	require.NoError(t, err)
	return running{t, m}
}

func rewrite(t *testing.T, module []byte) []byte {
	t.Helper()
	rewritten, err := Rewrite(module)
	require.NoError(t, err)
	return rewritten
}

func (r running) setFuel(n uint64) { r.ExportedGlobal(Fuel).(api.MutableGlobal).Set(n) }
func (r running) fuel() uint64     { return r.ExportedGlobal(Fuel).Get() }

func (r running) requireTrap(function string) {
	r.t.Helper()
	_, err := r.ExportedFunction(function).Call(r.t.Context())
	require.ErrorContains(r.t, err, "unreachable")
}

func TestEachRoundTakesFuel(t *testing.T) {
	t.Parallel()
	m := run(t, rewrite(t, countdownModule))
	for _, rounds := range []uint64{1, 2, 1000} {
		m.setFuel(rounds + 1) // and one that is left
		results, err := m.ExportedFunction("run").Call(t.Context(), rounds)
		require.NoError(t, err)
		require.Equal(t, []uint64{0}, results)
		require.EqualValues(t, 1, m.fuel())

		m.setFuel(rounds)
		_, err = m.ExportedFunction("run").Call(t.Context(), rounds)
		require.ErrorContains(t, err, "unreachable")
		require.Zero(t, m.fuel())
	}
}

func TestEndlessWorkTraps(t *testing.T) {
	t.Parallel()
	for name, body := range map[string][]byte{
		"loop":           loopBody,
		"nested loops":   slices.Concat([]byte{0x03, empty, 0x03, empty}, []byte{0x0C, 1, end, end}),
		"recursion":      {call, 0},
		"loop in an if":  slices.Concat([]byte{i32Const, 1, 0x04, empty}, loopBody, []byte{end}),
		"loop in a then": slices.Concat([]byte{i32Const, 0, 0x04, empty, 0x05}, loopBody, []byte{end}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := run(t, rewrite(t, moduleOf(types, sectionOf(3, []byte{0}), noGlobals, sectionOf(exportSection, export("run", kindFunction, 0)),
				sectionOf(codeSection, code(noLocals, body...)))))
			m.setFuel(500)
			m.requireTrap("run")
			require.Zero(t, m.fuel())
		})
	}
}

func TestExportsStay(t *testing.T) {
	t.Parallel()
	m := run(t, rewrite(t, countdownModule))
	require.Len(t, m.ExportedFunctionDefinitions(), 2)
	require.EqualValues(t, 7, m.ExportedGlobal("seven").Get())
	require.EqualValues(t, startFuel, m.fuel())
}

func TestTheBodyOfHollowFunctionsTraps(t *testing.T) {
	t.Parallel()
	hollow := moduleOf(types, sectionOf(3, []byte{0}), noGlobals, sectionOf(exportSection, export("run", kindFunction, 0)),
		sectionOf(codeSection, appendBytes(nil, trapBody)))
	run(t, hollow).requireTrap("run")
}

// TestImportsKeepTheirNumbers has imported functions and globals, which come first in the numbering.
func TestImportsKeepTheirNumbers(t *testing.T) {
	t.Parallel()
	rewritten := rewrite(t, moduleOf(types, importHost, sectionOf(3, []byte{0}, []byte{1}), oneGlobal,
		sectionOf(exportSection, export("run", kindFunction, 1), export("twice", kindFunction, 2)),
		sectionOf(codeSection, code(noLocals, call, 0), code(oneLocal, 0x23, 1, localSet, 1, localGet, 0, localGet, 1, 0x6A))))
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() { require.NoError(t, r.Close(context.Background())) })
	// A host module has no globals: another module re-exports one, and a function.
	_, err := r.InstantiateWithConfig(t.Context(), moduleOf(types, sectionOf(3, []byte{0}), oneGlobal,
		sectionOf(exportSection, export("f", kindFunction, 0), export("g", kindGlobal, 0)), sectionOf(codeSection, code(noLocals))),
		wazero.NewModuleConfig().WithName("h"))
	require.NoError(t, err)
	m, err := r.InstantiateWithConfig(t.Context(), rewritten, wazero.NewModuleConfig())
	require.NoError(t, err)
	_, err = m.ExportedFunction("run").Call(t.Context())
	require.NoError(t, err)
	results, err := m.ExportedFunction("twice").Call(t.Context(), 35)
	require.NoError(t, err)
	require.Equal(t, []uint64{42}, results, "35 and the module's own global")
	require.EqualValues(t, startFuel-1, m.ExportedGlobal(Fuel).Get(), "of the one that calls")
}

// TestInstructionsArePassedOver has each kind of immediate, with bytes in it that look like a loop.
func TestInstructionsArePassedOver(t *testing.T) {
	t.Parallel()
	for name, body := range map[string][]byte{
		"i32.const":          {i32Const, loop, 0x1A},
		"i32.const, long":    {i32Const, 0x83, 0x83, 0x83, 0x83, loop, 0x1A},
		"i64.const":          {0x42, 0x83, loop, 0x1A},
		"f32.const":          {0x43, loop, loop, loop, loop, 0x1A},
		"f64.const":          {0x44, loop, loop, loop, loop, loop, loop, loop, loop, 0x1A},
		"load":               {i32Const, 0, 0x28, 2, loop, 0x1A},
		"store":              {i32Const, 0, i32Const, 0, 0x36, 2, loop},
		"memory.size":        {0x3F, 0, 0x1A},
		"memory.grow":        {i32Const, loop, 0x40, 0, 0x1A},
		"br_table":           {0x02, empty, i32Const, 0, 0x0E, 2, 0, 0, 0, end},
		"select":             {i32Const, 1, i32Const, 2, i32Const, loop, 0x1B, 0x1A},
		"select with types":  {i32Const, 1, i32Const, 2, i32Const, loop, 0x1C, 1, i32, 0x1A},
		"ref.null":           {0xD0, funcref, 0x1A},
		"ref.is_null":        {0xD0, funcref, 0xD1, 0x1A},
		"ref.func":           {0xD2, 0, 0x1A},
		"table.get":          {i32Const, 0, 0x25, 0, 0x1A},
		"table.set":          {i32Const, 0, 0xD0, funcref, 0x26, 0},
		"table.size":         {0xFC, 16, 0, 0x1A},
		"table.grow":         {0xD0, funcref, i32Const, loop, 0xFC, 15, 0, 0x1A},
		"table.fill":         {i32Const, 0, 0xD0, funcref, i32Const, 0, 0xFC, 17, 0},
		"table.copy":         {i32Const, 0, i32Const, 0, i32Const, 0, 0xFC, 14, 0, 0},
		"table.init":         {i32Const, 0, i32Const, 0, i32Const, 0, 0xFC, 12, 0, 0},
		"elem.drop":          {0xFC, 13, 0},
		"memory.copy":        {i32Const, 0, i32Const, 0, i32Const, 0, 0xFC, 10, 0, 0},
		"memory.fill":        {i32Const, 0, i32Const, loop, i32Const, 0, 0xFC, 11, 0},
		"saturating":         {0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0xFC, loop, 0x1A},
		"sign extension":     {i32Const, loop, 0xC0, 0x1A},
		"return":             {0x0F},
		"nop and a block":    {0x01, 0x02, empty, 0x0C, 0, end},
		"block with a type":  {0x02, i32, i32Const, loop, end, 0x1A},
		"if and else":        {i32Const, 1, 0x04, i32, i32Const, loop, 0x05, i32Const, loop, end, 0x1A},
		"call_indirect":      {i32Const, 0, 0x11, 0, 0},
		"locals and globals": {localGet, 3, localSet, 3, localGet, 3, 0x22, 3, 0x1A, 0x23, 0, 0x1A},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			module := moduleOf(types, sectionOf(3, []byte{0}, []byte{0}), sectionOf(4, []byte{funcref, 0, 1}), sectionOf(5, []byte{0, 1}), oneGlobal,
				sectionOf(exportSection, export("run", kindFunction, 1)),
				sectionOf(9, slices.Concat([]byte{0, i32Const, 0, end}, vec([]byte{0}))),
				sectionOf(codeSection, code(noLocals), code([]byte{1, 4, i32}, body...)))
			m := run(t, rewrite(t, module))
			_, err := m.ExportedFunction("run").Call(t.Context())
			require.NoError(t, err)
			want := uint64(startFuel) // no loop was seen
			if name == "call_indirect" {
				want--
			}
			require.Equal(t, want, m.fuel())
		})
	}
}

func TestWhatIsNotKnownIsAnError(t *testing.T) {
	t.Parallel()
	withCode := func(body ...byte) []byte {
		return moduleOf(types, sectionOf(3, []byte{0}), noGlobals, sectionOf(exportSection, export("run", kindFunction, 0)), sectionOf(codeSection, code(noLocals, body...)))
	}
	exports := sectionOf(exportSection, export("run", kindFunction, 0))
	for name, tc := range map[string]struct {
		module []byte
		want   string
	}{
		"nothing":                    {nil, "not a WebAssembly module of version 1"},
		"another version":            {[]byte("\x00asm\x02\x00\x00\x00"), "not a WebAssembly module of version 1"},
		"no sections":                {header, "no section 6"},
		"no globals":                 {moduleOf(types, exports), "no section 6"},
		"no code":                    {moduleOf(types, noGlobals, exports), "no section 10"},
		"a vector instruction":       {withCode(0xFD, 0), "instruction 0xfd is not known"},
		"an atomic instruction":      {withCode(0xFE, 0), "instruction 0xfe is not known"},
		"a tail call":                {withCode(0x12, 0), "instruction 0x12 is not known"},
		"an exception":               {withCode(0x08, 0), "instruction 0x08 is not known"},
		"a bulk instruction":         {withCode(0xFC, 18), "instruction 0xfc 18 is not known"},
		"a number that is too large": {withCode(call, 0xFF, 0xFF, 0xFF, 0xFF, 0x1F), "a broken number"},
		"an imported memory":         {moduleOf(types, sectionOf(importSection, []byte{1, 'h', 1, 'm', 2, 0, 1}), noGlobals, exports), "an import of kind 2"},
		"more than there is":         {moduleOf(types, noGlobals, exports, []byte{codeSection, 5, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F}), "the module ends too early"},
		"more in a section":          {moduleOf(types, noGlobals, exports, []byte{codeSection, 3, 0, 0, 0}), "2 bytes too many in a section"},
		"a section twice":            {moduleOf(types, noGlobals, noGlobals, exports), "two sections 6"},
		"a section that is cut":      {append(moduleOf(types, noGlobals, exports), codeSection, 9, 1), "the module ends too early"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Rewrite(tc.module)
			require.EqualError(t, err, tc.want)
		})
	}
}

// TestCutModules cuts a module at each byte.
func TestCutModules(t *testing.T) {
	t.Parallel()
	for n := range len(countdownModule) {
		_, err := Rewrite(countdownModule[:n])
		require.Error(t, err, n)
		_, _, err = Split(countdownModule[:n])
		require.Error(t, err, n)
	}
}

func TestSplitAndJoin(t *testing.T) {
	t.Parallel()
	hollow, code, err := Split(countdownModule)
	require.NoError(t, err)
	m := run(t, hollow)
	m.requireTrap("other")
	_, err = m.ExportedFunction("run").Call(t.Context(), 1)
	require.ErrorContains(t, err, "unreachable")
	require.EqualValues(t, 7, m.ExportedGlobal("seven").Get())

	joined, err := Join(hollow, code)
	require.NoError(t, err)
	require.Equal(t, countdownModule, joined)
	again, _, err := Split(hollow)
	require.NoError(t, err)
	require.Equal(t, hollow, again)
	_, err = Join(header, code)
	require.EqualError(t, err, "no section 10")
	_, err = Join([]byte("nonsense"), code)
	require.EqualError(t, err, "not a WebAssembly module of version 1")
}

func TestCustomSectionsAreDropped(t *testing.T) {
	t.Parallel()
	named := append(bytes.Clone(countdownModule), 0, 5, 4, 'n', 'a', 'm', 'e')
	require.Equal(t, rewrite(t, countdownModule), rewrite(t, named))
}

func TestSignedNumbers(t *testing.T) {
	t.Parallel()
	for v, want := range map[int32][]byte{0: {0}, 63: {63}, 64: {0xC0, 0}, -1: {0x7F}, -64: {0x40}, -65: {0xBF, 0x7F}, startFuel: {0x80, 0x80, 0x80, 0x80, 0x04}} {
		require.Equal(t, want, appendS32(nil, v), v)
		r := &reader{slices.Concat(want, []byte{1})}
		r.signed()
		require.Len(t, r.rest, 1)
	}
}

func FuzzRewrite(f *testing.F) {
	f.Add(countdownModule)
	f.Add(moduleOf(types, importHost, sectionOf(3, []byte{0}), oneGlobal, sectionOf(exportSection, export("run", kindFunction, 1)), sectionOf(codeSection, code(noLocals, loopBody...))))
	f.Fuzz(func(t *testing.T, module []byte) {
		rewritten, err := Rewrite(module)
		if err != nil {
			require.Nil(t, rewritten)
		} else {
			_, err = Rewrite(rewritten)
			require.NoError(t, err, "what was rewritten can be read")
		}
		hollow, code, err := Split(module)
		if err != nil {
			return
		}
		joined, err := Join(hollow, code)
		require.NoError(t, err)
		again, same, err := Split(joined)
		require.NoError(t, err)
		require.Equal(t, hollow, again)
		require.Equal(t, code, same)
	})
}
