package pysyntax

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// call is one call of the module into its host. Numbers of 32 bits come with rubbish in the upper half: u32 takes the lower one.
type call struct {
	ctx context.Context
	*instance
	stack []uint64
}

func (c call) value(i int) any     { return c.heap.get(c.stack[i]) }
func (c call) u32(i int) uint32    { return api.DecodeU32(c.stack[i]) }
func (c call) answer(v any)        { c.stack[0] = c.heap.add(v) }
func (c call) number(n int)        { c.stack[0] = uint64(uint32(n)) }
func (c call) string(i int) string { return string(c.bytes(c.u32(i), c.u32(i+1))) }

func (c call) truth(b bool) {
	c.stack[0] = 0
	if b {
		c.stack[0] = 1
	}
}

// returnString writes a string's place into the two words at the first argument.
func (c call) returnString(s string) {
	at := c.u32(0)
	ptr, n := c.put(c.ctx, s)
	c.write(at, ptr)
	c.write(at+4, n)
}

// imports is what ruff's module asks of JavaScript, as wasm-bindgen names it in release Version: names end in a hash of the signature and
// change with releases. What settings and answers as they are here do not need is in unused.
var imports = map[string]func(call){
	"__wbindgen_init_externref_table":                  func(c call) { c.initTable(c.ctx) },
	"__wbindgen_cast_0000000000000001":                 func(c call) { c.answer(math.Float64frombits(c.stack[0])) },
	"__wbindgen_cast_0000000000000003":                 func(c call) { c.answer(c.string(0)) },
	"__wbg_new_0b303268aa395a38":                       func(c call) { c.answer(&array{}) },
	"__wbg_new_20b778a4c5c691c3":                       func(c call) { c.answer(newObject()) },
	"__wbg___wbindgen_is_string_6541b0f6ecd4e8e5":      func(c call) { _, ok := c.value(0).(string); c.truth(ok) },
	"__wbg___wbindgen_is_function_147961669f068cd4":    func(c call) { _, ok := c.value(0).(function); c.truth(ok) },
	"__wbg___wbindgen_is_undefined_4410e3c20a99fa97":   func(c call) { c.truth(c.value(0) == nil) },
	"__wbg___wbindgen_is_object_3a2c414391dbf751":      isObject,
	"__wbg___wbindgen_jsval_loose_eq_e07e3b1f5db6da6c": func(c call) { c.truth(c.value(0) == c.value(1)) },
	"__wbg___wbindgen_in_ce8569b2fc6f5088":             func(c call) { c.truth(property(c.value(1), c.value(0)) != nil) },
	"__wbg___wbindgen_string_get_fa2687d531ed17a5":     getString,
	"__wbg_isArray_139f48e3c057ede8":                   func(c call) { _, ok := c.value(0).(*array); c.truth(ok) },
	"__wbg_iterator_9b36cebf3be7b7cd":                  func(c call) { c.answer(iteratorSymbol{}) },
	"__wbg_length_fb04d16d7bdf6d4c":                    func(c call) { c.number(len(theArray(c).items)) },
	"__wbg_entries_5a6a7e7e0df09fe5":                   entries,
	"__wbg_get_44e98e27bda25b5b":                       func(c call) { c.answer(property(c.value(0), c.value(1))) },
	"__wbg_get_with_ref_key_6412cf3094599694":          func(c call) { c.answer(property(c.value(0), c.value(1))) },
	"__wbg_get_4b90d6d8c5deb5d5":                       func(c call) { c.answer(theArray(c).at(c.u32(1))) },
	"__wbg_get_unchecked_46e778e3cec74b5e":             func(c call) { c.answer(theArray(c).at(c.u32(1))) },
	"__wbg_set_6be42768c690e380":                       setField,
	"__wbg_set_da33c120a6584674":                       setItem,

	// Errors, and a panic's last words.
	"__wbg_Error_9dc85fe1bc224456":                   func(c call) { c.answer(&errorValue{c.string(0)}) },
	"__wbg_new_5fae30e6b23db8df":                     func(c call) { c.answer(&errorValue{c.string(0)}) },
	"__wbg_new_227d7c05414eb861":                     func(c call) { c.answer(&errorValue{}) },
	"__wbg_String_8564e559799eccda":                  func(c call) { c.returnString(text(c.value(1))) },
	"__wbg___wbindgen_debug_string_56c147eb1a51f0c4": func(c call) { c.returnString(text(c.value(1))) },
	"__wbg_stack_3b0d974bbf31e44f":                   func(c call) { c.returnString("") },
	"__wbg_error_a6fa202b58aa1cd3":                   func(c call) { c.panicked = c.string(0) },
	"__wbg___wbindgen_throw_bbadd78c1bac3a77":        func(c call) { panic("thrown: " + c.string(0)) },
}

// unused are for values that no settings and no answer here hold (numbers and truths in settings, large numbers, maps, byte arrays), for
// iterators, and for a log that nobody opened.
var unused = []string{
	"__wbg_Number_4779d427bae39753", "__wbg___wbindgen_number_get_588ed6b97f0d7e14", "__wbg_isSafeInteger_c22ccb4af2201fe9",
	"__wbg___wbindgen_boolean_get_b131b2f36d6b2f55", "__wbg___wbindgen_bigint_get_as_i64_8ea6736501f396b6", "__wbg___wbindgen_is_bigint_df272c65456269c2",
	"__wbindgen_cast_0000000000000002", "__wbindgen_cast_0000000000000004", "__wbg___wbindgen_jsval_eq_174c93ec61bab0c5",
	"__wbg_codePointAt_92c678dd76a87be4", "__wbg_fromCodePoint_9732a81eca648320", "__wbg_length_7abf942ae12c9744", "__wbg_length_68a9d5278d084f4f",
	"__wbg_call_91f00ddc43e01490", "__wbg_next_cfd0b146c9538df8", "__wbg_next_8cb028b6ba50743f", "__wbg_done_6a8439e544ec6206", "__wbg_value_3d3defe09fb1ffca",
	"__wbg_instanceof_Map_7f94c740225003e2", "__wbg_instanceof_ArrayBuffer_a581da923203f29f", "__wbg_instanceof_Uint8Array_b6fe1ac89eba107e",
	"__wbg_new_883c0db065f06efd", "__wbg_set_5f806304fb633ab3", "__wbg_new_b06772b280cc6e52", "__wbg_prototypesetcall_956c7493c68e29b4",
	"__wbg_log_6614a4effdb4e983", "__wbg_info_a2b5f8a5dae8b26c", "__wbg_warn_633bacc13ba7e6c3", "__wbg_debug_de823612d4d12f74", "__wbg_error_6651fee1c71e5da9",
}

// UnknownImports returns the imports of a module that this package has nothing for, and those that the module does not ask for:
// both are empty for the module that is stored here.
func UnknownImports(ctx context.Context, module []byte) (unknown, unneeded []string, err error) {
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	compiled, err := r.CompileModule(ctx, module)
	if err != nil {
		return nil, nil, err
	}
	known := append(slices.Collect(maps.Keys(imports)), unused...)
	asked := map[string]bool{}
	for _, f := range compiled.ImportedFunctions() {
		_, name, _ := f.Import()
		asked[name] = true
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	unneeded = slices.DeleteFunc(known, func(name string) bool { return asked[name] })
	slices.Sort(unneeded)
	return unknown, unneeded, nil
}

// host returns what the module gets for an import: a panic inside ends the call as a trap does.
func host(name string) api.GoModuleFunc {
	do := imports[name]
	if do == nil {
		do = func(call) { panic("ruff called " + name + ", which it does not need") }
	}
	return func(ctx context.Context, _ api.Module, stack []uint64) {
		in := ctx.Value(instanceKey{}).(*instance)
		in.countValues()
		do(call{ctx, in, stack})
	}
}

func isObject(c call) {
	switch c.value(0).(type) {
	case *object, *array, *errorValue:
		c.truth(true)
	default:
		c.truth(false)
	}
}

// getString returns no string for what is not one.
func getString(c call) {
	if s, ok := c.value(1).(string); ok {
		c.returnString(s)
		return
	}
	c.write(c.u32(0), 0)
	c.write(c.u32(0)+4, 0)
}

// entries is Object.entries.
func entries(c call) {
	all := &array{}
	if o, ok := c.value(0).(*object); ok {
		for name, field := range o.fields {
			all.items = append(all.items, &array{items: []any{name, field}})
		}
	}
	c.answer(all)
}

// theArray is the first argument.
func theArray(c call) *array {
	a, ok := c.value(0).(*array)
	if !ok {
		panic(fmt.Sprintf("a %T is no array", c.value(0)))
	}
	return a
}

func setItem(c call) {
	a := theArray(c)
	if int64(c.u32(1)) != int64(len(a.items)) { // ruff fills arrays in order
		panic(fmt.Sprintf("item %d for an array of %d", c.u32(1), len(a.items)))
	}
	a.items = append(a.items, c.value(2))
}

func setField(c call) {
	o, isObject := c.value(0).(*object)
	name, isName := c.value(1).(string)
	if !isObject || !isName {
		panic(fmt.Sprintf("a field %T of a %T", c.value(1), c.value(0)))
	}
	o.fields[name] = c.value(2)
}
