package bucket_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// FuzzURL: what is read as a place is written as the same place, and contains itself and what lies below it.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{
		"s3://acme-dags/dags/", "s3://acme-dags/dags", "s3://acme", "gs://acme.dags_1/a b/é%2F+/", "file:///srv//x/../dags/", "file:///", "file:////", "file:///..", "file://",
		"s3://", "s3:///", "s3://a//b/", "s3://a/../b", "s3://a/./", "S3://a/", "https://a/", "://", "", "s3://a/\xff", "s3://a/b?versionId=1#x", "s3://u:p@a/", "s3://a\x00/", "file:///a\x00b",
		"file:///a/./b/", "gs://a/s3://b/", "s3://é/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := bucket.ParseURL(s)
		if err != nil {
			require.Equal(t, bucket.URL{}, u)
			require.NotRegexp(t, `[[:cntrl:]]`, err.Error())
			return
		}
		require.Contains(t, []string{"s3", "gs", "file"}, u.Scheme)
		require.NotEmpty(t, u.Bucket)
		require.True(t, u.Prefix == "" || strings.HasSuffix(u.Prefix, "/") && u.Prefix[0] != '/')
		require.NotContains(t, u.Prefix, "//")
		require.Equal(t, u.Scheme == "file", strings.HasPrefix(u.Bucket, "/"))
		require.True(t, u.Scheme != "file" || u.Prefix == "" && !strings.Contains(u.Bucket+"/", "/../"))
		again, err := bucket.ParseURL(u.String())
		require.NoError(t, err)
		require.Equal(t, u, again)
		require.Equal(t, u.String(), u.Root()+"/"+u.Prefix)
		below, err := bucket.ParseURL(u.String() + "x/")
		require.NoError(t, err)
		require.True(t, u.Contains(u) && u.Contains(below))
		require.False(t, below.Contains(u))
		if u.Bucket == "/" || u.Prefix == "" && u.Scheme != "file" {
			return // all other places there lie below it
		}
		beside, err := bucket.ParseURL(strings.TrimSuffix(u.String(), "/") + "x/")
		require.NoError(t, err)
		require.False(t, u.Contains(beside) || beside.Contains(u))
	})
}

// FuzzObjectURL: an object's URL is its bucket's, a slash and its key.
func FuzzObjectURL(f *testing.F) {
	for _, seed := range []string{
		"s3://acme/config.yaml", "s3://acme/a/b/config.yaml", "gs://acme/a b/+%2F.yaml", "file:///etc/dagbucket/config.yaml", "file:///config.yaml", "file:///a//b/../c.yaml",
		"s3://acme", "s3://acme/", "s3://acme/dir/", "config.yaml", "", "ftp://acme/x", "s3://acme//x", "file://x", "file:///x/..", "s3://a/b/..", "s3:///x", "s3://a/\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, key, err := bucket.ParseObjectURL(s)
		if err != nil {
			require.Equal(t, bucket.URL{}, u)
			require.Empty(t, key)
			require.NotRegexp(t, `[[:cntrl:]]`, err.Error())
			return
		}
		require.NotEmpty(t, key)
		require.False(t, strings.HasSuffix(key, "/"))
		require.True(t, strings.HasPrefix(key, u.Prefix))
		if u.Scheme != "file" { // a directory's path is cleaned
			require.Equal(t, s, u.Root()+"/"+key)
		}
		again, keyAgain, err := bucket.ParseObjectURL(u.Root() + "/" + key)
		require.NoError(t, err)
		require.Equal(t, u, again)
		require.Equal(t, key, keyAgain)
	})
}
