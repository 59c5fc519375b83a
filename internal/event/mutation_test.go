package event

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDecodeMutated puts null, a string, a list and an object into every place of every recorded payload, also inside the
// envelopes that are strings: whatever a sender may come to leave out or change, Decode gives an error or sound messages.
func TestDecodeMutated(t *testing.T) {
	for _, dir := range []string{recorded, recordedGoogle} {
		for name, payload := range recordings(t, dir) {
			t.Run(name, func(t *testing.T) {
				requireMutationsSound(t, payload, func(data []byte) { requireSound(t, data) })
			})
		}
	}
}

// TestDecodeRequestMutated does the same to the bodies of the recorded requests, and leaves out one line of their headers at a time.
func TestDecodeRequestMutated(t *testing.T) {
	for name, r := range requests(t) {
		t.Run(name, func(t *testing.T) {
			for line := range r.header {
				less := maps.Clone(r.header)
				delete(less, line)
				requireRequestSound(t, less, r.body)
				requireRequestSound(t, less, nil)
			}
			if json.Valid(r.body) {
				requireMutationsSound(t, r.body, func(data []byte) { requireRequestSound(t, r.header, data) })
			}
		})
	}
}

func requireMutationsSound(t *testing.T, payload []byte, requireIsSound func([]byte)) {
	var root any
	require.NoError(t, json.Unmarshal(payload, &root))
	n := 0
	mutate(root, func(changed any) {
		data, err := json.Marshal(changed)
		require.NoError(t, err)
		requireIsSound(data)
		n++
	})
	require.Positive(t, n)
}

// mutate calls use with every variant of v that differs in one place.
func mutate(v any, use func(any)) {
	for _, other := range []any{nil, "x", []any{nil}, map[string]any{}} {
		use(other)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			changed := maps.Clone(v)
			delete(changed, key)
			use(changed)
			mutate(v[key], func(other any) { changed[key] = other; use(changed) })
		}
	case []any:
		for i := range min(len(v), 2) { // the records after that are like these
			changed := slices.Clone(v)
			use(slices.Delete(slices.Clone(v), i, i+1))
			mutate(v[i], func(other any) { changed[i] = other; use(changed) })
		}
	case string: // perhaps an envelope, perhaps in base64
		encode := func(data []byte) any { return string(data) }
		data := []byte(v)
		if decoded, err := base64.StdEncoding.DecodeString(v); err == nil {
			encode = func(data []byte) any { return base64.StdEncoding.EncodeToString(data) }
			data = decoded
		}
		var inner map[string]any
		if json.Unmarshal(data, &inner) != nil {
			return
		}
		mutate(inner, func(other any) {
			if data, err := json.Marshal(other); err == nil {
				use(encode(data))
			}
		})
	}
}

// recordings are the recorded payloads of a directory by file name.
func recordings(t testing.TB, dir string) map[string][]byte {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	payloads := map[string][]byte{}
	for _, file := range files {
		payloads[filepath.Base(file)], err = os.ReadFile(file)
		require.NoError(t, err)
	}
	return payloads
}
