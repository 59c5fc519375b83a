// Package statuspage writes status.html: what is live on a route, what is not and why, and who is next to act. The page is one file that
// loads nothing, works without JavaScript, and shows whatever is in names and messages as text.
package statuspage

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/dagbucket/dagbucket/internal/state"
)

var (
	//go:embed page.css
	style markup
	//go:embed page.js
	script markup
)

// policy lets the browser run and show what is in this package and nothing else, whatever a name may contain.
var policy = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; img-src data:; base-uri 'none'; form-action 'none'",
	hash(style), hash(script))

func hash(asset markup) string {
	sum := sha256.Sum256([]byte(asset))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// Render writes the page of a status. It holds nothing of it but a few rows at a time. The error is to's.
func Render(to io.Writer, s *state.Status) error {
	w := newWriter(to)
	writePage(w, newView(s))
	return w.flush()
}
