// Package statuspage writes status.html: what is live on a route, what is not and why, and who is next to act. The page is one file that
// loads nothing, works without JavaScript, and shows whatever is in names and messages as text.
package statuspage

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"

	"github.com/dagbucket/dagbucket/internal/state"
)

var (
	//go:embed page.html
	pageSource string
	//go:embed page.css
	style string
	//go:embed page.js
	script string
)

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"show": show, "machine": machine, "human": human, "took": took, "seconds": seconds, "size": size, "number": number,
	"plural": plural, "short": short, "link": newLink, "prose": prose,
}).Parse(pageSource))

// policy lets the browser run and show what is in this package and nothing else, whatever a name may contain.
var policy = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; img-src data:; base-uri 'none'; form-action 'none'",
	hash(style), hash(script))

func hash(asset string) string {
	sum := sha256.Sum256([]byte(asset))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// Render writes the page of a status. It holds nothing of it but a few rows at a time. The error is w's.
func Render(w io.Writer, s *state.Status) error {
	out := bufio.NewWriterSize(w, 64<<10)
	v := newView(s)
	if err := page.ExecuteTemplate(out, "top", v); err != nil {
		return err
	}
	if err := writeData(out, s); err != nil {
		return err
	}
	if err := page.ExecuteTemplate(out, "bottom", v); err != nil {
		return err
	}
	return out.Flush()
}
