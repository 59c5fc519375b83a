package bucket_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

func TestContentType(t *testing.T) {
	for key, want := range map[string][2]string{
		"prod/status.html": {"text/html; charset=utf-8", "no-cache"},
		"prod/status.json": {"application/json", "no-cache"},
		"prod/a.tar.gz":    {"application/gzip", ""},
		"dags/a.py":        {"application/octet-stream", ""},
		"html":             {"application/octet-stream", ""},
	} {
		contentType, cacheControl := bucket.ContentType(key)
		require.Equal(t, want, [2]string{contentType, cacheControl}, key)
	}
}
