package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLeastSquares(t *testing.T) {
	for name, c := range map[string]struct{ x, y, want []float64 }{ // want: intercept, slope, R²
		"a line":          {[]float64{1, 2, 10}, []float64{5, 7, 23}, []float64{3, 2, 1}},
		"constant":        {[]float64{1, 2, 10}, []float64{4, 4, 4}, []float64{4, 0, 1}},
		"beside the line": {[]float64{0, 1, 2}, []float64{0, 3, 3}, []float64{0.5, 1.5, 0.75}},
		"no connection":   {[]float64{-1, 0, 1}, []float64{1, 0, 1}, []float64{2.0 / 3, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			intercept, slope, r2 := leastSquares(c.x, c.y)
			require.InDeltaSlice(t, c.want, []float64{intercept, slope, r2}, 1e-9)
		})
	}
}

func TestPrices(t *testing.T) {
	requests := map[string]int64{"list": 1, "get": 1002, "put": 9, "delete": 5, "astro": 4}

	aws := prices["aws"].ofRun("aws", "first sync", 1000, 0.5004, requests, 1)
	require.Equal(t, []int64{1, 1200}, []int64{aws.Invocations, aws.QueueRequests}, "a batch takes 1,000 events, a receive and a removal 10")
	require.InDelta(t, 10*0.000005+1002*0.0000004, aws.Storage, 1e-12, "removals are free")
	require.InDelta(t, 0.0000002+0.501*0.5*0.0000166667, aws.Compute, 1e-12, "rounded up to a millisecond")
	require.InDelta(t, 1200*0.0000004, aws.Queue, 1e-12)
	require.InDelta(t, aws.Storage+aws.Compute+aws.Queue, aws.Total, 1e-12)
	require.InDelta(t, aws.Total+70*0.5*0.0000166667, aws.WithWaits, 1e-12)

	gcp := prices["gcp"].ofRun("gcp", "no change", 1, 0.3, requests, 0)
	require.Equal(t, []int64{1, 0}, []int64{gcp.Invocations, gcp.QueueRequests})
	require.InDelta(t, 0.0000004+0.3*(0.000024+0.00000125), gcp.Compute, 1e-12, "0.3 s are three steps, not four")
	require.InDelta(t, 4.001, prices["aws"].billed(4.001), 1e-9, "4,001 steps, though 4.001/0.001 is a little more")
	require.InDelta(t, gcp.Total, gcp.WithWaits, 1e-12, "nothing is deployed, so nothing is waited for")

	people := prices["aws"].ofTemplate("aws", "first sync", 10_000, 10_000, 250)
	require.Equal(t, []int64{10_000, 100_000, 100_000_000}, []int64{people.Deploys, people.List, people.Get})
	require.InDelta(t, 0.5+40, people.Storage, 1e-9)
}

func TestRequireChanged(t *testing.T) {
	good := func() summary {
		return summary{Outcome: "deployed", Files: 10_000, Modified: 1, RequestsList: 11, RequestsGet: 6, RequestsSourceGet: 1, RequestsPut: 8, RequestsAstro: 4}
	}
	for name, c := range map[string]struct {
		change func(*summary)
		want   string
	}{
		"good":               {func(*summary) {}, ""},
		"two listings":       {func(r *summary) { r.RequestsList = 21 }, ""},
		"three listings":     {func(r *summary) { r.RequestsList = 30 }, "list calls"},
		"half a listing":     {func(r *summary) { r.RequestsList = 15 }, "list calls"},
		"all is read":        {func(r *summary) { r.RequestsGet, r.RequestsSourceGet = 10_003, 10_000 }, "10000 reads"},
		"the source, twice":  {func(r *summary) { r.RequestsSourceGet = 2 }, "2 reads of the source"},
		"too many others":    {func(r *summary) { r.RequestsPut = 14 }, "24 other requests"},
		"nothing modified":   {func(r *summary) { r.Modified = 0 }, "0 were modified"},
		"something is added": {func(r *summary) { r.Added = 1 }, "1 added"},
		"not deployed":       {func(r *summary) { r.Outcome = "unchanged" }, "unchanged: "},
	} {
		t.Run(name, func(t *testing.T) {
			r := good()
			c.change(&r)
			err := requireChanged(r, medium, 1)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestOptions(t *testing.T) {
	aws, gcp := &bench{name: "aws"}, &bench{name: "gcp"}
	for only, c := range map[string]struct{ aws, gcp []scenario }{
		"":              {scenarios, []scenario{small, medium, heavy}},
		"1,000":         {[]scenario{small}, []scenario{small}},
		"100,000":       {[]scenario{large}, nil},
		templateSection: {[]scenario{small}, nil},
		rcloneSection:   {[]scenario{medium}, nil},
		priceSection:    {nil, nil},
	} {
		o := options{cloud: "all", only: only}
		require.Equal(t, c.aws, aws.scenarios(o), only)
		require.Equal(t, c.gcp, gcp.scenarios(o), only)
		_, err := o.clouds()
		require.NoError(t, err)
	}
	_, err := options{cloud: "all", only: "1000"}.clouds()
	require.ErrorContains(t, err, `"1000"`)
	_, err = options{cloud: "azure"}.clouds()
	require.ErrorContains(t, err, `"azure"`)

	require.True(t, aws.variants(small, options{only: templateSection}).byTemplate)
	require.False(t, aws.variants(small, options{only: "1,000"}).byTemplate, "the template takes half a minute a round")
}

// sample is a report of one point.
func sample() *report {
	all := series{}
	for _, seconds := range []float64{3, 1, 2} {
		all.add(firstFloor, measured{seconds, 50e6, nil})
		all.add(firstSync, measured{2 * seconds, 90e6, map[string]int64{"list": 1, "get": 1002, "put": 9}})
		all.add(changedSync, measured{seconds / 4, 40e6, map[string]int64{"list": 2, "get": 5, "put": 9}})
	}
	r := &report{out: io.Discard}
	r.addSeries("aws", point{small, loopback}, all)
	r.addSeries("aws", point{medium, loopback}, all)
	r.addFits("one changed file", "files", []int{1000, 10_000}, []*samples{all[changedSync], all[changedSync]})
	r.addPrice(prices["aws"].ofTemplate("aws", "one changed of 1,000", 1000, 1, 25))
	return r
}

// TestBarsHoldWhereTheyWereSet, and elsewhere a ratio is only shown.
func TestBarsHoldWhereTheyWereSet(t *testing.T) {
	all := series{}
	for _, variant := range []string{firstSync, template, rcloneCopy, changedSync, changeFloor, onlyListing, noChange} {
		all.add(variant, measured{1, 300e6, nil})
	}
	barred := func(p point) (of []string) {
		for _, variant := range []string{firstSync, changedSync, noChange} {
			for _, c := range compare(p, all, variant) {
				if c.Bar > 0 {
					of = append(of, variant+" "+c.Of)
				}
			}
		}
		return of
	}
	require.Equal(t, []string{"first sync MB"}, barred(point{small, loopback}))
	require.Equal(t, []string{"first sync × documentation template", "first sync MB"}, barred(point{small, distant}))
	require.Equal(t, []string{"first sync × rclone copy", "first sync MB", "one changed × floor of one changed", "one changed × first sync"}, barred(point{medium, loopback}))
	require.Equal(t, []string{"first sync × rclone copy", "first sync MB", "one changed × floor of one changed", "one changed × first sync", "one changed × rclone copy"},
		barred(point{medium, distant}))
	require.Equal(t, []string{"first sync MB", "one changed × listing alone", "one changed MB", "no change MB"}, barred(point{large, loopback}))
	require.Equal(t, []string{"first sync MB", "one changed MB"}, barred(point{heavy, loopback}))
}

func TestReport(t *testing.T) {
	text := sample().markdown()
	require.Contains(t, text, "\n| aws | 1,000 × 2 KB | loopback | first sync | 4.000 s | 90 MB | list 1, get 1,002, put 9 | "+
		"2 × floor of a first sync (≤ 1.3: SLOW); 90 MB (≤ 200: ok) |\n")
	require.Contains(t, text, "0.125 × first sync |\n", "where there is no bar, the ratio has no verdict")
	require.Contains(t, text, "0.125 × first sync (≤ 0.5: ok) |\n")
	columns := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		n := strings.Count(line, "|")
		require.True(t, columns == 0 || n == columns, "a row with other columns than its table: %s", line)
		columns = n
	}
}

func TestSave(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new")
	require.NoError(t, sample().save(folder))

	content, err := os.ReadFile(filepath.Join(folder, "results.json"))
	require.NoError(t, err)
	var saved struct{ Rows []row }
	require.NoError(t, json.Unmarshal(content, &saved))
	require.Len(t, saved.Rows, 6)

	picture, err := os.ReadFile(filepath.Join(folder, "results.svg"))
	require.NoError(t, err)
	for decoder := xml.NewDecoder(bytes.NewReader(picture)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
	}
	require.Contains(t, string(picture), firstSync)
}

func TestText(t *testing.T) {
	for _, size := range []int{0, 1, 100, 2 << 10} {
		require.Len(t, text(1, size), size)
	}
	require.NotEqual(t, text(1, 100), text(2, 100))
	require.Equal(t, text(1, 100), text(1, 100))
}
