package bucket_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

func TestParseURL(t *testing.T) {
	for _, test := range []struct {
		in     string
		want   bucket.URL
		string string
		root   string
	}{
		{"s3://acme-dags/dags/", bucket.URL{Scheme: "s3", Bucket: "acme-dags", Prefix: "dags/"}, "s3://acme-dags/dags/", "s3://acme-dags"},
		{"s3://acme-dags/dags", bucket.URL{Scheme: "s3", Bucket: "acme-dags", Prefix: "dags/"}, "s3://acme-dags/dags/", "s3://acme-dags"},
		{"s3://acme-dags", bucket.URL{Scheme: "s3", Bucket: "acme-dags"}, "s3://acme-dags/", "s3://acme-dags"},
		{"gs://acme.dags_1/a b/é%2F+/", bucket.URL{Scheme: "gs", Bucket: "acme.dags_1", Prefix: "a b/é%2F+/"}, "gs://acme.dags_1/a b/é%2F+/", "gs://acme.dags_1"},
		{"file:///srv/dags/", bucket.URL{Scheme: "file", Bucket: "/srv/dags"}, "file:///srv/dags/", "file:///srv/dags"},
		{"file:///srv//x/../dags", bucket.URL{Scheme: "file", Bucket: "/srv/dags"}, "file:///srv/dags/", "file:///srv/dags"},
		{"file:///", bucket.URL{Scheme: "file", Bucket: "/"}, "file:///", "file://"},
	} {
		t.Run(test.in, func(t *testing.T) {
			u, err := bucket.ParseURL(test.in)
			require.NoError(t, err)
			require.Equal(t, test.want, u)
			require.Equal(t, test.string, u.String())
			require.Equal(t, test.root, u.Root())
			again, err := bucket.ParseURL(u.String())
			require.NoError(t, err)
			require.Equal(t, u, again)
		})
	}
}

func TestParseURLNamesTheFault(t *testing.T) {
	for in, want := range map[string]string{
		"":                   `"" is not a bucket URL: write s3://bucket/prefix/`,
		"acme-dags/dags":     `"acme-dags/dags" is not a bucket URL`,
		"S3://acme/":         `unknown scheme "S3"; use s3, gs or file`,
		"https://acme/":      `unknown scheme "https"; use s3, gs or file`,
		"s3://":              "the bucket's name is missing",
		"s3:///dags/":        "the bucket's name is missing",
		"s3://acme dags/":    `"acme dags" is not a bucket name`,
		"s3://user@acme/":    `"user@acme" is not a bucket name`,
		"s3://acme//dags/":   "the prefix has an empty segment",
		"s3://acme/dags//x/": "the prefix has an empty segment",
		"file://dags/":       "a directory needs an absolute path",
		"file://":            "a directory needs an absolute path",
	} {
		t.Run(in, func(t *testing.T) {
			_, err := bucket.ParseURL(in)
			require.ErrorContains(t, err, want)
			require.ErrorContains(t, err, in)
		})
	}
}

func TestParseObjectURL(t *testing.T) {
	for _, test := range []struct{ in, root, key string }{
		{"s3://acme/config.yaml", "s3://acme", "config.yaml"},
		{"s3://acme/a/b/config.yaml", "s3://acme", "a/b/config.yaml"},
		{"file:///etc/dagbucket/config.yaml", "file:///etc/dagbucket", "config.yaml"},
		{"file:///config.yaml", "file://", "config.yaml"},
	} {
		t.Run(test.in, func(t *testing.T) {
			u, key, err := bucket.ParseObjectURL(test.in)
			require.NoError(t, err)
			require.Equal(t, test.root, u.Root())
			require.Equal(t, test.key, key)
		})
	}
	for in, want := range map[string]string{
		"": "not the URL of an object", "config.yaml": "not the URL of an object", "s3://acme": "names a bucket only",
		"s3://acme/": "after the last slash", "s3://acme/dir/": "after the last slash", "ftp://acme/x": "unknown scheme",
	} {
		_, _, err := bucket.ParseObjectURL(in)
		require.ErrorContains(t, err, want)
	}
}

func TestContains(t *testing.T) {
	for _, test := range []struct {
		outer, inner string
		want         bool
	}{
		{"s3://acme/dags/", "s3://acme/dags/", true},
		{"s3://acme/dags/", "s3://acme/dags/team/", true},
		{"s3://acme/", "s3://acme/dags/", true},
		{"s3://acme/dags/", "s3://acme/", false},
		{"s3://acme/dags", "s3://acme/dags_old/", false},
		{"s3://acme/", "s3://acme-2/", false},
		{"s3://acme/", "gs://acme/", false},
		{"file:///srv/dags", "file:///srv/dags/sub", true},
		{"file:///srv/dags", "file:///srv/dags", true},
		{"file:///srv/dags", "file:///srv/dags_old", false},
		{"file:///srv/dags", "file:///srv", false},
		{"file:///", "file:///srv", true},
	} {
		outer, err := bucket.ParseURL(test.outer)
		require.NoError(t, err)
		inner, err := bucket.ParseURL(test.inner)
		require.NoError(t, err)
		require.Equal(t, test.want, outer.Contains(inner), "%s contains %s", outer, inner)
	}
}
