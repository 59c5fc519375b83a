package config

import (
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// BenchmarkLoad reads a file of many routes, each with what is compared with those of the others.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{500, 5000} {
		var file strings.Builder
		file.WriteString("state: s3://acme-state/\nroutes:\n")
		for i := range n {
			fmt.Fprintf(&file, "  - name: r%d\n    sources: [{url: s3://acme-dags/r%d/}, {url: s3://ml/r%d/, mount: ml}]\n    deployment: r%d\n    status: s3://pages/r%d/\n    token: env:TEAM%d\n", i, i, i, i, i, i)
		}
		b.Run(fmt.Sprintf("%d routes", n), func(b *testing.B) {
			for b.Loop() {
				_, err := loadBytes(b, []byte(file.String()))
				require.NoError(b, err)
			}
		})
	}
}

// TestSourcesAround: it is the first one that contains the place.
func TestSourcesAround(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	some := func() bucket.URL {
		u := bucket.URL{Scheme: []string{"s3", "gs", "file"}[random.IntN(3)]}
		for range random.IntN(4) {
			u.Prefix += []string{"x/", "xy/", "y/"}[random.IntN(3)]
		}
		if u.Scheme == "file" {
			u.Bucket, u.Prefix = path.Clean("/"+u.Prefix), ""
			return u
		}
		u.Bucket = []string{"a", "ab"}[random.IntN(2)]
		return u
	}
	for range 5000 {
		routes := make([]Route, random.IntN(5))
		for i := range routes {
			for range random.IntN(4) {
				routes[i].Sources = append(routes[i].Sources, Source{URL: some()})
			}
		}
		written := some()
		var want position
		contained := false
		for i, r := range routes {
			for j, source := range r.Sources {
				if !contained && source.URL.Contains(written) {
					want, contained = position{i, j, source.URL}, true
				}
			}
		}
		got, found := sourcesOf(routes).around(written)
		require.Equal(t, contained, found, "%s in %v", written, routes)
		require.Equal(t, want, got)
	}
}
