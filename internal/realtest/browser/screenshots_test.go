//go:build browser

package browser

import (
	"bytes"
	"cmp"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/state"
)

var samples = map[string]func() *state.Status{
	"deployed": deployed, "attention": attention, "held": held, "drifted": drifted, "failed": failed, "empty": empty,
	"many": func() *state.Status { return many(10_000) }, "hostile": hostile,
}

func TestScreenshots(t *testing.T) {
	folder := cmp.Or(os.Getenv("SCREENSHOTS"), t.TempDir())
	for name, sample := range samples {
		for _, look := range []struct {
			name, scheme  string
			width, height int64
		}{{"light", "light", 1280, 900}, {"dark", "dark", 1280, 900}, {"phone", "light", 360, 740}, {"phone-dark", "dark", 360, 740}} {
			t.Run(name+"-"+look.name, func(t *testing.T) {
				x := newTab(t)
				x.scheme(look.scheme)
				x.run(chromedp.EmulateViewport(look.width, look.height, chromedp.EmulateScale(1.5)))
				x.serve(sample())
				take := chromedp.FullScreenshot(100)
				if name == "many" { // its first screen: the rest is a long list
					take = chromedp.CaptureScreenshot()
				}
				picture, err := chromedp.Run(x.ctx, take)
				require.NoError(t, err)
				size, err := png.DecodeConfig(bytes.NewReader(picture))
				require.NoError(t, err)
				require.GreaterOrEqual(t, size.Width, int(look.width), "the whole width was drawn")
				require.NoError(t, os.WriteFile(filepath.Join(folder, name+"-"+look.name+".png"), picture, 0o644))
			})
		}
	}
}

// scheme lets the page think that its reader prefers light or dark.
func (x *tab) scheme(name string) {
	x.t.Helper()
	x.feature("prefers-color-scheme", name)
}

func (x *tab) feature(name, value string) {
	x.t.Helper()
	call(x, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: name, Value: value}}})
}
