package pysyntax

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/pysyntax/meter"
)

func TestStoredModule(t *testing.T) {
	t.Parallel()
	whole, err := wholeModule()
	require.NoError(t, err)
	sum := sha256.Sum256(whole)
	require.Equal(t, StoredSHA256, hex.EncodeToString(sum[:]))

	hollow, code, err := meter.Split(whole)
	require.NoError(t, err)
	stored, err := hollowModule()
	require.NoError(t, err)
	require.Equal(t, len(stored), len(hollow))
	require.True(t, string(stored) == string(hollow))
	require.Greater(t, len(code), 2*len(hollow), "what loading is spared")

	unknown, unneeded, err := UnknownImports(t.Context(), hollow)
	require.NoError(t, err)
	require.Empty(t, unknown)
	require.Empty(t, unneeded)
}

func TestUnknownImports(t *testing.T) {
	t.Parallel()
	const name = "__wbg_new_0123456789abcdef"
	module := "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x02" + string(rune(len(importsName)+len(name)+5)) + "\x01" +
		string(rune(len(importsName))) + importsName + string(rune(len(name))) + name + "\x00\x00"
	unknown, unneeded, err := UnknownImports(t.Context(), []byte(module))
	require.NoError(t, err)
	require.Equal(t, []string{name}, unknown)
	require.Len(t, unneeded, len(imports)+len(unused))
	_, _, err = UnknownImports(t.Context(), []byte("no module"))
	require.Error(t, err)
}
