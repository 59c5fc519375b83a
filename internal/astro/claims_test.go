package astro_test

import (
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
