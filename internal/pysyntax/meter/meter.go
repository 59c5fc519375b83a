// Package meter rewrites a WebAssembly module so that a host can bound its work: each round of a loop, and each call of a function that calls
// others, takes one unit of fuel, and the module traps when there is none left. A runtime's own way to interrupt a module makes ruff three times slower, and without one
// a loop that takes long stops the whole Go process at its next garbage collection.
//
// It also parts a module into the code of its functions and the rest.
package meter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// Fuel is the name of the exported global, a mutable i32, that the host sets before a call. A module that was instantiated has enough to start.
const Fuel = "fuel"

// startFuel is for what runs before the host can set any.
const startFuel = 1 << 30

// Sections, https://webassembly.github.io/spec/core/binary/modules.html#sections.
const (
	customSection = 0
	importSection = 2
	globalSection = 6
	exportSection = 7
	codeSection   = 10
)

// Kinds of imports and exports.
const (
	kindFunction = 0
	kindGlobal   = 3
)

type section struct {
	id   byte
	body []byte
}

// trapBody is a function: no locals, unreachable, end.
var trapBody = []byte{0, 0x00, 0x0B}

// Rewrite returns module with metered functions and the export Fuel, and without custom sections.
func Rewrite(module []byte) (rewritten []byte, err error) {
	defer recoverFailure(&err)
	m := readModule(module)
	m.meterCode(m.addFuel())
	return m.bytes(), nil
}

// Split parts a module: hollow has functions that only trap, and is a module otherwise the same, but for custom sections; code is what Join
// puts back.
func Split(module []byte) (hollow, code []byte, err error) {
	defer recoverFailure(&err)
	m := readModule(module)
	s := m.section(codeSection)
	code = s.body
	n := (&reader{code}).count()
	s.body = appendU32(nil, n)
	for range n {
		s.body = appendBytes(s.body, trapBody)
	}
	return m.bytes(), code, nil
}

// Join undoes Split.
func Join(hollow, code []byte) (module []byte, err error) {
	defer recoverFailure(&err)
	m := readModule(hollow)
	m.section(codeSection).body = code
	return m.bytes(), nil
}

// failure is a panic with why a module cannot be rewritten.
type failure struct{ error }

func fail(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

func recoverFailure(err *error) {
	switch r := recover().(type) {
	case nil:
	case failure:
		*err = r.error
	default:
		panic(r)
	}
}

type module struct{ sections []section }

var header = []byte("\x00asm\x01\x00\x00\x00") // of version 1

func readModule(data []byte) *module {
	body, ok := bytes.CutPrefix(data, header)
	if !ok {
		fail("not a WebAssembly module of version 1")
	}
	m := &module{}
	for r := (&reader{body}); len(r.rest) > 0; {
		s := section{r.byte(), r.take(r.u32())}
		if s.id == customSection {
			continue
		}
		if m.find(s.id) >= 0 {
			fail("two sections %d", s.id)
		}
		m.sections = append(m.sections, s)
	}
	return m
}

// find returns where a section is, or -1.
func (m *module) find(id byte) int {
	return slices.IndexFunc(m.sections, func(s section) bool { return s.id == id })
}

func (m *module) bytes() []byte {
	out := bytes.Clone(header)
	for _, s := range m.sections {
		out = appendBytes(append(out, s.id), s.body)
	}
	return out
}

func (m *module) section(id byte) *section {
	at := m.find(id)
	if at < 0 {
		fail("no section %d", id)
	}
	return &m.sections[at]
}

// importedGlobals counts them: they are numbered before the module's own.
func (m *module) importedGlobals() (n uint32) {
	at := m.find(importSection)
	if at < 0 {
		return 0
	}
	r := &reader{m.sections[at].body}
	for range r.count() {
		r.take(r.u32())
		r.take(r.u32())
		switch kind := r.byte(); kind {
		case kindFunction:
			r.u32()
		case kindGlobal:
			r.take(2) // type, mutability
			n++
		default:
			fail("an import of kind %d", kind)
		}
	}
	r.end()
	return n
}

func appendExport(b []byte, name string, kind byte, index uint32) []byte {
	return appendU32(append(appendBytes(b, []byte(name)), kind), index)
}

// addFuel adds the global behind the others, so that none changes its number. It returns its own.
func (m *module) addFuel() (fuel uint32) {
	s := m.section(globalSection)
	r := &reader{s.body}
	n := r.u32()
	const i32, mutable, i32Const, end = 0x7F, 1, 0x41, 0x0B
	s.body = append(appendU32(nil, n+1), r.rest...)
	s.body = append(s.body, i32, mutable, i32Const)
	s.body = append(appendS32(s.body, startFuel), end)
	fuel = m.importedGlobals() + n

	s = m.section(exportSection)
	r = &reader{s.body}
	n = r.u32()
	s.body = appendExport(append(appendU32(nil, n+1), r.rest...), Fuel, kindGlobal, fuel)
	return fuel
}

// meterCode rewrites the bodies.
func (m *module) meterCode(fuel uint32) {
	s := m.section(codeSection)
	r := &reader{s.body}
	n := r.count()
	s.body = appendU32(nil, n)
	for range n {
		s.body = appendBytes(s.body, metered(r.take(r.u32()), takeFuel(fuel)))
	}
	r.end()
}

// metered puts take at the beginning of each round of a function's loops, and at its own if it calls functions: what neither loops nor calls
// ends by itself.
func metered(code, take []byte) []byte {
	r := &reader{code}
	for range r.count() { // groups of locals
		r.u32()
		r.byte()
	}
	at := func() int { return len(code) - len(r.rest) }
	places, calls := []int{at()}, false
	for len(r.rest) > 0 {
		switch r.instruction() {
		case loop:
			places = append(places, at())
		case call, callIndirect:
			calls = true
		}
	}
	if !calls {
		places = places[1:]
	}
	var out []byte
	copied := 0
	for _, place := range places {
		out = append(append(out, code[copied:place]...), take...)
		copied = place
	}
	return append(out, code[copied:]...)
}

// takeFuel is: fuel = fuel - 1; if fuel == 0 { trap }.
func takeFuel(global uint32) []byte {
	fuel := appendU32(nil, global)
	const get, set, i32Const, sub, eqz, then, empty, trap, end = 0x23, 0x24, 0x41, 0x6B, 0x45, 0x04, 0x40, 0x00, 0x0B
	return slices.Concat([]byte{get}, fuel, []byte{i32Const, 1, sub, set}, fuel, []byte{get}, fuel, []byte{eqz, then, empty, trap, end})
}

func appendU32(b []byte, v uint32) []byte { return binary.AppendUvarint(b, uint64(v)) }

// appendS32 is the signed form.
func appendS32(b []byte, v int32) []byte {
	for {
		low := byte(v & 0x7F)
		v >>= 7
		if v == 0 && low&0x40 == 0 || v == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

func appendBytes(b, data []byte) []byte { return append(appendU32(b, uint32(len(data))), data...) }
