package pysyntax

import (
	"encoding/json"
	"fmt"
)

// The JavaScript values that ruff's module reads its settings from and builds its answers of. A value is one of: nil (undefined and null,
// which nothing here tells apart), bool, float64, string, *array, *object, *errorValue, iteratorSymbol and function.
type (
	array      struct{ items []any }
	object     struct{ fields map[string]any }
	errorValue struct{ message string }

	// An array is known by having them; it is read by indexes.
	iteratorSymbol struct{}
	function       struct{}
)

// heap gives values the numbers by which the module knows them. Zero is undefined, as a null reference is.
type heap struct {
	values   []any
	interned map[string]uint64
}

// internedLength is in bytes. The module keeps references to the names of fields for its whole life, so that short strings stay; the
// longest name is well below it.
const internedLength = 32

func newHeap() *heap { return &heap{values: []any{nil}, interned: map[string]uint64{}} }

func (h *heap) add(v any) uint64 {
	if v == nil {
		return 0
	}
	s, short := v.(string)
	if short = short && len(s) <= internedLength; short {
		if ref, ok := h.interned[s]; ok {
			return ref
		}
	}
	h.values = append(h.values, v)
	ref := uint64(len(h.values) - 1)
	if short {
		h.interned[s] = ref
	}
	return ref
}

func (h *heap) get(ref uint64) any {
	if ref >= uint64(len(h.values)) {
		panic(fmt.Sprintf("reference %d of %d", ref, len(h.values)))
	}
	return h.values[ref]
}

// forget drops what was made since mark, but for short strings.
func (h *heap) forget(mark int) {
	for i := mark; i < len(h.values); i++ {
		if s, ok := h.values[i].(string); !ok || len(s) > internedLength {
			h.values[i] = nil
		}
	}
}

// size is how many numbers were given; they are not given again.
func (h *heap) size() int { return len(h.values) }

func newObject() *object { return &object{fields: map[string]any{}} }

// toValue makes a value of what JSON can say.
func toValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		o := newObject()
		for k, field := range v {
			o.fields[k] = toValue(field)
		}
		return o
	case []any:
		a := &array{}
		for _, item := range v {
			a.items = append(a.items, toValue(item))
		}
		return a
	}
	return v
}

// fromValue is the opposite of toValue, for encoding/json.
func fromValue(v any) any {
	switch v := v.(type) {
	case *object:
		m := make(map[string]any, len(v.fields))
		for k, field := range v.fields {
			m[k] = fromValue(field)
		}
		return m
	case *array:
		items := make([]any, 0, len(v.items))
		for _, item := range v.items {
			items = append(items, fromValue(item))
		}
		return items
	case *errorValue:
		return v.message
	}
	return v
}

// decodeValue copies a value into a Go struct with JSON tags.
func decodeValue(v, into any) error {
	data, err := json.Marshal(fromValue(v))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// text is how a value prints.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case *errorValue:
		return v.message
	}
	data, err := json.Marshal(fromValue(v))
	if err != nil {
		return fmt.Sprintf("%T", v)
	}
	return string(data)
}

// property is Reflect.get of a field; of an array, the function that would iterate over it.
func property(of, key any) any {
	switch of := of.(type) {
	case *object:
		if name, ok := key.(string); ok {
			return of.fields[name]
		}
	case *array:
		if _, ok := key.(iteratorSymbol); ok {
			return function{}
		}
	}
	return nil
}

func (a *array) at(i uint32) any {
	if uint64(i) >= uint64(len(a.items)) {
		return nil
	}
	return a.items[i]
}
