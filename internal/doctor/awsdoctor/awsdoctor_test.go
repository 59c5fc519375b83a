package awsdoctor

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAlone: an address of AWS itself is no server of one's own that stands in for S3.
func TestAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env  map[string]string
		want bool
	}{
		"AWS":             {nil, false},
		"a server for S3": {map[string]string{"AWS_ENDPOINT_URL_S3": "https://minio.acme.example"}, true},
		"one for all":     {map[string]string{"AWS_ENDPOINT_URL_S3": "http://localhost:1", "AWS_ENDPOINT_URL": "http://localhost:2"}, false},
		"a VPC endpoint":  {map[string]string{"AWS_ENDPOINT_URL_S3": "https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com"}, false},
	} {
		require.Equal(t, c.want, New(func(name string) string { return c.env[name] }).alone(), name)
	}
}
