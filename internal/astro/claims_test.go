package astro_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

func TestReadClaims(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	claims, err := astro.ReadClaims(astrotest.Token("clm1", end))
	require.NoError(t, err)
	require.Equal(t, astro.Claims{Organizations: []string{"clm1"}, Expires: end, API: true}, claims)
	claims, err = astro.ReadClaims(astrotest.Token("", time.Time{}))
	require.NoError(t, err)
	require.Equal(t, astro.Claims{API: true}, claims)
	_, err = astro.ReadClaims("hunter2")
	require.ErrorContains(t, err, "no Astro API token")
	require.NotContains(t, err.Error(), "hunter2")
}

// TestWhoseTokenItIs: what a token does not say of itself, or says oddly, makes it no API token, and no bad one either.
func TestWhoseTokenItIs(t *testing.T) {
	t.Parallel()
	for claims, api := range map[string]bool{
		`{"permissions":["workspaceId:w","apiTokenId:a"]}`:          true,
		`{"isAstronomerGenerated":true}`:                            true,
		`{"permissions":["organizationId:clm1"]}`:                   false,
		`{"isAstronomerGenerated":false,"permissions":["a:token"]}`: false,
		`{"isAstronomerGenerated":"yes"}`:                           false,
	} {
		encode := base64.RawURLEncoding.EncodeToString
		got, err := astro.ReadClaims(encode([]byte("{}")) + "." + encode([]byte(claims)) + "." + encode([]byte("signature")))
		require.NoError(t, err, claims)
		require.Equal(t, api, got.API, claims)
	}
}
