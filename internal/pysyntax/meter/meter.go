// Package meter rewrites a WebAssembly module so that a host can bound its work: each round of a loop and each call of a function takes one unit
// of fuel, and the module traps when there is none left. A runtime's own way to interrupt a module makes ruff three times slower, and without one
// a loop that takes long stops the whole Go process at its next garbage collection.
//
// It also drops what the wanted exports cannot reach, since all that is left must be compiled and loaded; and it parts a module into the code
// of its functions and the rest.
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
	customSection  = 0
	importSection  = 2
	globalSection  = 6
	exportSection  = 7
	startSection   = 8
	elementSection = 9
	codeSection    = 10
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

// Rewrite returns module with metered functions, the exports named in keep and Fuel, and without custom sections. Functions that those exports,
// the start function, the tables and the globals do not reach have no body but a trap.
func Rewrite(module []byte, keep []string) (rewritten []byte, err error) {
	defer recoverFailure(&err)
	m := readModule(module)
	m.findRoots()
	m.keepExports(keep)
	m.addFuel()
	m.meterCode()
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

// module is what rewriting must know of one.
type module struct {
	sections          []section
	importedFunctions uint32
	importedGlobals   uint32
	fuel              uint32   // its index
	roots             []uint32 // functions that something outside of functions refers to
}

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

// findRoots counts the imports, too.
func (m *module) findRoots() {
	for _, s := range m.sections {
		r := &reader{s.body}
		switch s.id {
		case importSection:
			m.countImports(r)
		case globalSection:
			for range r.count() {
				r.take(2) // type, mutability
				m.roots = append(m.roots, r.constant()...)
			}
		case startSection:
			m.roots = append(m.roots, r.u32())
		case elementSection:
			m.roots = append(m.roots, elementFunctions(r)...)
		default:
			continue
		}
		r.end()
	}
}

func (m *module) countImports(r *reader) {
	for range r.count() {
		r.take(r.u32())
		r.take(r.u32())
		switch kind := r.byte(); kind {
		case kindFunction:
			r.u32()
			m.importedFunctions++
		case kindGlobal:
			r.take(2)
			m.importedGlobals++
		default:
			fail("an import of kind %d", kind)
		}
	}
}

// elementFunctions returns the functions that tables may hold.
func elementFunctions(r *reader) []uint32 {
	var found []uint32
	for range r.count() {
		const activeWithIndexes = 0
		if flags := r.u32(); flags != activeWithIndexes {
			fail("an element segment of kind %d", flags)
		}
		r.constant()
		for range r.count() {
			found = append(found, r.u32())
		}
	}
	return found
}

func (m *module) keepExports(keep []string) {
	s := m.section(exportSection)
	r := &reader{s.body}
	var kept []byte
	n := uint32(0)
	missing := slices.Clone(keep)
	for range r.count() {
		name, kind, index := string(r.take(r.u32())), r.byte(), r.u32()
		at := slices.Index(missing, name)
		if at < 0 {
			continue
		}
		missing = slices.Delete(missing, at, at+1)
		if kind == kindFunction {
			m.roots = append(m.roots, index)
		}
		kept, n = appendExport(kept, name, kind, index), n+1
	}
	r.end()
	if len(missing) > 0 {
		fail("no export %q", missing)
	}
	s.body = append(appendU32(nil, n), kept...)
}

func appendExport(b []byte, name string, kind byte, index uint32) []byte {
	return appendU32(append(appendBytes(b, []byte(name)), kind), index)
}

// addFuel adds the global behind the others, so that none changes its number.
func (m *module) addFuel() {
	s := m.section(globalSection)
	r := &reader{s.body}
	n := r.u32()
	const i32, mutable, i32Const, end = 0x7F, 1, 0x41, 0x0B
	s.body = append(appendU32(nil, n+1), r.rest...)
	s.body = append(s.body, i32, mutable, i32Const)
	s.body = append(appendS32(s.body, startFuel), end)
	m.fuel = m.importedGlobals + n

	s = m.section(exportSection)
	r = &reader{s.body}
	n = r.u32()
	s.body = appendExport(append(appendU32(nil, n+1), r.rest...), Fuel, kindGlobal, m.fuel)
}

// meterCode rewrites the bodies.
func (m *module) meterCode() {
	s := m.section(codeSection)
	r := &reader{s.body}
	bodies := make([]body, r.count())
	for i := range bodies {
		bodies[i].code = r.take(r.u32())
	}
	r.end()
	m.reach(bodies)
	s.body = appendU32(nil, uint32(len(bodies)))
	for _, b := range bodies {
		if !b.reached {
			b.metered = trapBody
		}
		s.body = appendBytes(s.body, b.metered)
	}
}

type body struct {
	code, metered []byte
	reached       bool
}

// reach meters what the roots reach.
func (m *module) reach(bodies []body) {
	open := slices.Clone(m.roots)
	for len(open) > 0 {
		f := open[len(open)-1]
		open = open[:len(open)-1]
		if f < m.importedFunctions {
			continue
		}
		at := f - m.importedFunctions
		if uint64(at) >= uint64(len(bodies)) {
			fail("no function %d", f)
		}
		b := &bodies[at]
		if b.reached {
			continue
		}
		var calls []uint32
		b.metered, calls = m.meter(b.code)
		b.reached = true
		open = append(open, calls...)
	}
}

// meter takes fuel at the beginning of a function and of each round of its loops. It returns the functions that it refers to, too.
func (m *module) meter(code []byte) (metered []byte, calls []uint32) {
	r := &reader{code}
	for range r.count() { // groups of locals
		r.u32()
		r.byte()
	}
	take := m.takeFuel()
	copied := len(code) - len(r.rest)
	metered = append(slices.Clone(code[:copied]), take...)
	for len(r.rest) > 0 {
		isLoop, call, isCall := r.instruction()
		if isCall {
			calls = append(calls, call)
		}
		if isLoop {
			at := len(code) - len(r.rest)
			metered = append(append(metered, code[copied:at]...), take...)
			copied = at
		}
	}
	return append(metered, code[copied:]...), calls
}

// takeFuel is: fuel = fuel - 1; if fuel == 0 { trap }.
func (m *module) takeFuel() []byte {
	fuel := appendU32(nil, m.fuel)
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
