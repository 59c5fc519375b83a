// Package meter rewrites a WebAssembly module so that a host can bound its work: each round of a loop and each call of a function takes one unit
// of fuel, and the module traps when there is none left. A runtime's own way to interrupt a module makes ruff three times slower, and without one
// a loop that takes long stops the whole Go process at its next garbage collection.
//
// It also drops what the wanted exports cannot reach, since all that is left must be compiled and loaded.
package meter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Fuel is the name of the exported global, a mutable i32, that the host sets before a call. A module that was instantiated has enough to start.
const Fuel = "fuel"

// startFuel is for what runs before the host can set any.
const startFuel = 1 << 30

// Section IDs, https://webassembly.github.io/spec/core/binary/modules.html#sections.
const (
	custom    = 0
	imports   = 2
	functions = 3
	globals   = 6
	exports   = 7
	start     = 8
	elements  = 9
	code      = 10
)

// Kinds of imports and exports.
const (
	kindFunction = 0
	kindTable    = 1
	kindMemory   = 2
	kindGlobal   = 3
)

type section struct {
	id   byte
	body []byte
}

// Rewrite returns module with metered functions, the exports named in keep and Fuel, and without custom sections. Functions that those exports,
// the start function and the tables do not reach have no body but a trap.
func Rewrite(module []byte, keep []string) (rewritten []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(error)
			if !ok {
				panic(r)
			}
			rewritten, err = nil, e
		}
	}()
	header := []byte("\x00asm\x01\x00\x00\x00")
	body, ok := bytes.CutPrefix(module, header)
	if !ok {
		return nil, errors.New("not a WebAssembly module of version 1")
	}
	m := readModule(body)
	m.keepExports(keep)
	m.addFuel()
	m.meterCode()
	out := bytes.Clone(header)
	for _, s := range m.sections {
		out = append(out, s.id)
		out = appendBytes(out, s.body)
	}
	return out, nil
}

// module is what rewriting must know of one.
type module struct {
	sections          []section
	importedFunctions uint32
	importedGlobals   uint32
	fuel              uint32   // its index
	roots             []uint32 // functions that something outside of functions refers to
}

func readModule(body []byte) *module {
	m := &module{}
	for r := (&reader{body}); len(r.rest) > 0; {
		id := r.byte()
		s := section{id, r.take(r.u32())}
		switch id {
		case custom:
			continue
		case imports:
			m.countImports(s.body)
		case start:
			m.roots = append(m.roots, (&reader{s.body}).u32())
		case elements:
			m.roots = append(m.roots, elementFunctions(s.body)...)
		}
		m.sections = append(m.sections, s)
	}
	return m
}

func (m *module) section(id byte) *section {
	at := slices.IndexFunc(m.sections, func(s section) bool { return s.id == id })
	if at < 0 {
		fail("no section %d", id)
	}
	return &m.sections[at]
}

func (m *module) countImports(body []byte) {
	r := &reader{body}
	for range r.u32() {
		r.take(r.u32())
		r.take(r.u32())
		switch kind := r.byte(); kind {
		case kindFunction:
			r.u32()
			m.importedFunctions++
		case kindGlobal:
			r.byte()
			r.byte()
			m.importedGlobals++
		default:
			fail("an import of kind %d", kind)
		}
	}
}

// elementFunctions returns the functions that tables may hold.
func elementFunctions(body []byte) []uint32 {
	r := &reader{body}
	var found []uint32
	for range r.u32() {
		const active, withIndexes = 0, 0
		if flags := r.u32(); flags != active|withIndexes {
			fail("an element segment of kind %d", flags)
		}
		r.constant()
		for range r.u32() {
			found = append(found, r.u32())
		}
	}
	return found
}

func (m *module) keepExports(keep []string) {
	s := m.section(exports)
	r := &reader{s.body}
	var kept []byte
	n := uint32(0)
	missing := slices.Clone(keep)
	for range r.u32() {
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
	s := m.section(globals)
	r := &reader{s.body}
	n := r.u32()
	const i32, mutable, i32Const, end = 0x7F, 1, 0x41, 0x0B
	s.body = append(appendU32(nil, n+1), r.rest...)
	s.body = append(s.body, i32, mutable, i32Const)
	s.body = append(appendS32(s.body, startFuel), end)
	m.fuel = m.importedGlobals + n

	s = m.section(exports)
	r = &reader{s.body}
	n = r.u32()
	s.body = appendExport(append(appendU32(nil, n+1), r.rest...), Fuel, kindGlobal, m.fuel)
}

// meterCode rewrites the bodies.
func (m *module) meterCode() {
	s := m.section(code)
	r := &reader{s.body}
	bodies := make([]body, r.u32())
	for i := range bodies {
		bodies[i].code = r.take(r.u32())
	}
	m.reach(bodies)
	out := appendU32(nil, uint32(len(bodies)))
	for _, b := range bodies {
		if !b.reached {
			out = appendBytes(out, []byte{0, 0x00, 0x0B}) // no locals, unreachable, end
			continue
		}
		out = appendBytes(out, b.metered)
	}
	s.body = out
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
		if f < m.importedFunctions || bodies[f-m.importedFunctions].reached {
			continue
		}
		b := &bodies[f-m.importedFunctions]
		var calls []uint32
		b.metered, calls = m.meter(b.code)
		b.reached = true
		open = append(open, calls...)
	}
}

// meter takes fuel at the beginning of a function and of each round of its loops. It returns the functions that it refers to, too.
func (m *module) meter(code []byte) (metered []byte, calls []uint32) {
	r := &reader{code}
	for range r.u32() { // locals
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

func fail(format string, args ...any) { panic(fmt.Errorf(format, args...)) }
