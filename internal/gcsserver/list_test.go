package gcsserver_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"cloud.google.com/go/storage"
	"github.com/stretchr/testify/require"
)

type page struct {
	Kind          string
	NextPageToken string
	Prefixes      []string
	Items         []struct{ Name string }
}

func (p page) keys() []string {
	names := []string{}
	for _, o := range p.Items {
		names = append(names, o.Name)
	}
	return names
}

func (c *client) page(query string) page {
	c.t.Helper()
	status, answer, _ := c.do(http.MethodGet, "/storage/v1/b/dags/o?"+query, "")
	require.Equal(c.t, http.StatusOK, status, answer)
	var p page
	require.NoError(c.t, json.Unmarshal([]byte(answer), &p))
	require.Equal(c.t, "storage#objects", p.Kind)
	return p
}

func TestListing(t *testing.T) {
	c := start(t)
	for _, key := range []string{"a/b", "a-b", "a/c/d", "a/c/e", "b+ c&<>é", "z", "a/"} {
		c.put(key, key)
	}
	require.Equal(t, []string{"a-b", "a/", "a/b", "a/c/d", "a/c/e", "b+ c&<>é", "z"}, c.page("").keys())

	first := c.page("prefix=a/&maxResults=2")
	require.Equal(t, []string{"a/", "a/b"}, first.keys())
	second := c.page("prefix=a/&maxResults=2&pageToken=" + first.NextPageToken)
	require.Equal(t, []string{"a/c/d", "a/c/e"}, second.keys())
	require.Empty(t, second.NextPageToken, "only keys outside the prefix follow")

	folders := c.page("prefix=a&delimiter=/&maxResults=1")
	require.Equal(t, []string{"a-b"}, folders.keys())
	folders = c.page("prefix=a&delimiter=/&maxResults=1&pageToken=" + folders.NextPageToken)
	require.Equal(t, []string{"a/"}, folders.Prefixes)
	require.Empty(t, folders.keys())
	require.Empty(t, folders.NextPageToken)
	trailing := c.page("delimiter=/&includeTrailingDelimiter=true")
	require.Equal(t, []string{"a/"}, trailing.Prefixes)
	require.Equal(t, []string{"a-b", "a/", "b+ c&<>é", "z"}, trailing.keys())
	require.Equal(t, []string{"a/c/e", "b+ c&<>é"}, c.page("startOffset=a/c/e&endOffset=z").keys())
	require.Equal(t, []string{"b+ c&<>é"}, c.page("prefix="+url.QueryEscape("b+ c&<>é")).keys())
	require.Empty(t, c.page("prefix=none").keys())
	status, _, _ := c.do(http.MethodGet, "/storage/v1/b/dags/o?matchGlob=**.py", "")
	require.Equal(t, http.StatusBadRequest, status)
}

func TestPages(t *testing.T) {
	const count = 2500
	c := start(t)
	var want []string
	for i := range count {
		want = append(want, fmt.Sprintf("%02d/%04d.py", i%7, i))
		c.put(want[i], "x")
	}
	slices.Sort(want)
	require.Equal(t, want, list(c, nil))
	require.Equal(t, want, list(c, &storage.Query{Projection: storage.ProjectionNoACL}))

	for query, size := range map[string]int{"": 1000, "maxResults=0": 1000, "maxResults=5000": 1000, "maxResults=999": 999} {
		p := c.page(query)
		require.Len(t, p.Items, size, query)
		require.NotEmpty(t, p.NextPageToken)
	}
	// Written between two pages: one in what was listed, one in what comes, and the first of the next page goes away.
	first := c.page("")
	last := first.Items[999].Name
	c.put(want[0]+"-new", "x")
	c.put(last+"-new", "x")
	status, _, _ := c.do(http.MethodDelete, objectPath(want[1000]), "")
	require.Equal(t, http.StatusNoContent, status)
	require.Equal(t, append([]string{last + "-new"}, want[1001:2000]...), c.page("pageToken="+first.NextPageToken).keys())
}
