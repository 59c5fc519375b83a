package s3bucket_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/s3server"
)

// TestWhatCannotBeCopied: the answers after which a caller reads and writes by itself, and those that end it.
func TestWhatCannotBeCopied(t *testing.T) {
	for code, c := range map[string]struct {
		status int
		want   error
	}{
		"InvalidRequest":             {http.StatusBadRequest, bucket.ErrCannotCopy}, // over 5 GiB, or onto itself
		"NotImplemented":             {http.StatusNotImplemented, bucket.ErrCannotCopy},
		"NoSuchKey":                  {http.StatusNotFound, bucket.ErrChanged},
		"PreconditionFailed":         {http.StatusPreconditionFailed, bucket.ErrChanged},
		"ConditionalRequestConflict": {http.StatusConflict, bucket.ErrChanged},
		"InvalidObjectState":         {http.StatusForbidden, bucket.ErrArchived},
		"AccessDenied":               {http.StatusForbidden, bucket.ErrDenied},
		"NoSuchBucket":               {http.StatusNotFound, bucket.ErrNoBucket},
	} {
		t.Run(code, func(t *testing.T) {
			b := open(t, refusal(c.status, code))
			_, err := b.Copy(t.Context(), b, "dags/a.py", `"etag"`, "dags/b.py", bucket.IfAbsent())
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, "s3://acme/dags/b.py")
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// TestAnotherClientsBucketIsForeign: it may be of another region, or of another server.
func TestAnotherClientsBucketIsForeign(t *testing.T) {
	server := s3server.New("acme")
	_, err := open(t, server).Copy(t.Context(), open(t, server), "dags/a.py", `"etag"`, "dags/b.py", bucket.IfAbsent())
	require.ErrorIs(t, err, bucket.ErrCannotCopy)
}
