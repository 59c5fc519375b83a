package secret

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func permanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}

func TestLocal(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(data), 0o600))
		return path
	}
	env := map[string]string{"TOKEN": "SECRET", "LINE": "SECRET\r\n", "BLANK": " \n"}
	cases := []struct{ name, ref, want, wantErr string }{
		{"variable", "env:TOKEN", "SECRET", ""},
		{"variable with a line end", "env:LINE", "SECRET", ""},
		{"variable not set", "env:TOKEM", "", "secret env:TOKEM: the environment variable is not set or empty: set it"},
		{"blank variable", "env:BLANK", "", "secret env:BLANK: it is empty: store the secret there"},
		{"file", "file:" + write("plain", "SECRET"), "SECRET", ""},
		{"file with line ends", "file:" + write("lines", "SEC\nRET\r\n\n"), "SEC\nRET", ""},
		{"file that is missing", "file:" + dir + "/none", "", "/none: no such file or directory: mount the secret there"},
		{"empty file", "file:" + write("empty", "\n"), "", "/empty: it is empty: store the secret there"},
		{"large file", "file:" + write("large", strings.Repeat("S", 64<<10+1)), "", "/large: the file is larger than 64 KiB"},
		{"directory", "file:" + dir, "", "is a directory: name a readable file"},
		{"unknown scheme", "gcp-sm:x", "", "has the scheme gcp-sm:, which is not known here: write one of env:…, file:…"},
		{"no scheme", "SECRET", "", "(not shown, it may be the secret itself) has no known scheme: write one of env:…, file:…"},
		{"secret with a colon", "SECRET:SECRET", "", "(not shown, it may be the secret itself) has no known scheme"},
		{"empty", "", "", "has no known scheme"},
	}
	r := Local(func(name string) string { return env[name] })
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := r.Resolve(t.Context(), c.ref)
			require.Equal(t, c.want, got)
			if c.wantErr == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.wantErr)
			require.NotContains(t, err.Error(), "SECRET")
			require.True(t, permanent(err))
		})
	}
}

func TestWithKeepsBoth(t *testing.T) {
	local := Local(func(string) string { return "local" })
	all := local.With(Resolver{"x": func(_ context.Context, ref string) (string, error) { return "x of " + ref, nil }})
	got, err := all.Resolve(t.Context(), "x:a:b#c")
	require.NoError(t, err)
	require.Equal(t, "x of a:b#c", got)
	got, err = all.Resolve(t.Context(), "env:A")
	require.NoError(t, err)
	require.Equal(t, "local", got)
	require.NotContains(t, local, "x")
}

func TestFailuresOfSourcesKeepTheirKind(t *testing.T) {
	reset := errors.New("connection reset")
	r := Resolver{
		"passing": func(context.Context, string) (string, error) { return "", reset },
		"lasting": func(context.Context, string) (string, error) { return "", Permanentf("denied: %w", reset) },
	}
	_, err := r.Resolve(t.Context(), "passing:a")
	require.EqualError(t, err, "secret passing:a: connection reset")
	require.ErrorIs(t, err, reset)
	require.False(t, permanent(err))
	_, err = r.Resolve(t.Context(), "lasting:a")
	require.ErrorIs(t, err, reset)
	require.True(t, permanent(err))
}

func TestKept(t *testing.T) {
	reads := 0
	answers := []struct {
		value string
		err   error
	}{{err: errors.New("first fails")}, {value: "one"}, {value: "two"}, {err: errors.New("refresh fails")}, {value: "three"}}
	r := Resolver{"x": func(context.Context, string) (string, error) {
		reads++
		return answers[reads-1].value, answers[reads-1].err
	}}
	get := NewCache(r).Kept("x:a")
	steps := []struct {
		refresh       bool
		want, wantErr string
		reads         int
	}{
		{false, "", "first fails", 1},
		{false, "one", "", 2},
		{false, "one", "", 2},
		{true, "two", "", 3},
		{false, "two", "", 3},
		{true, "", "refresh fails", 4},
		{false, "three", "", 5}, // not "two", which is known to be stale
	}
	for i, s := range steps {
		got, err := get(t.Context(), s.refresh)
		require.Equal(t, s.want, got, "step %d", i)
		if s.wantErr != "" {
			require.ErrorContains(t, err, s.wantErr, "step %d", i)
		} else {
			require.NoError(t, err, "step %d", i)
		}
		require.Equal(t, s.reads, reads, "step %d", i)
	}
}

func TestKeptConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0 // guarded by the cache itself: the race detector would tell
		get := NewCache(Resolver{"x": func(context.Context, string) (string, error) {
			reads++
			time.Sleep(time.Second)
			return "value", nil
		}}).Kept("x:a")
		var calls sync.WaitGroup
		for range 20 {
			calls.Go(func() {
				got, err := get(t.Context(), false)
				if got != "value" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
			})
		}
		calls.Wait()
		require.Equal(t, 1, reads)
	})
}

func TestKeptWaitsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		get := NewCache(Resolver{"x": func(context.Context, string) (string, error) {
			time.Sleep(time.Hour)
			return "value", nil
		}}).Kept("x:a")
		var slow sync.WaitGroup
		slow.Go(func() { _, _ = get(t.Context(), false) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := get(ctx, false)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.False(t, permanent(err))
		require.Equal(t, time.Second, time.Since(began))
		slow.Wait()
	})
}
