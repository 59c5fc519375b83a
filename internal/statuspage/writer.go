package statuspage

import (
	"bufio"
	"encoding/json"
	"html"
	"io"
	"strconv"
	"time"
)

// markup is HTML that is written as it is. Only constants and the embedded files are of this type: data is a string.
type markup string

// writer writes the page. html/template would do so, too, but makes the linker keep every exported method: 7.6 MB of Lambda's binary.
// After an error it writes nothing.
type writer struct {
	out *bufio.Writer
	enc *json.Encoder
	err error
}

func newWriter(to io.Writer) *writer {
	out := bufio.NewWriterSize(to, 64<<10)
	return &writer{out: out, enc: json.NewEncoder(out)}
}

func (w *writer) put(s string) *writer {
	if w.err == nil {
		_, w.err = w.out.WriteString(s)
	}
	return w
}

func (w *writer) raw(m markup) *writer { return w.put(string(m)) }

// text writes data between tags, and lines data that may have several lines.
func (w *writer) text(s string) *writer  { return w.put(html.EscapeString(show(s))) }
func (w *writer) lines(s string) *writer { return w.put(html.EscapeString(showLines(s))) }

// attr writes an attribute. Those that browsers load or run are not for data: see link.
func (w *writer) attr(name markup, value string) *writer {
	return w.raw(" ").raw(name).raw(`="`).text(value).raw(`"`)
}

// link writes a text that leads to a URL, if that is a safe one.
func (w *writer) link(url, text string) *writer {
	safe := safeURL(url)
	if safe == "" {
		return w.raw("<bdi>").text(text).raw("</bdi>")
	}
	return w.raw("<a").attr("href", safe).raw(` rel="noopener noreferrer"><bdi>`).text(text).raw("</bdi></a>")
}

// prose writes a sentence; what stands between backticks in it is code.
func (w *writer) prose(s string) *writer {
	for _, p := range prose(s) {
		if p.Code {
			w.raw("<code>").lines(p.Text).raw("</code>")
		} else {
			w.lines(p.Text)
		}
	}
	return w
}

// time writes a time; page.js fills the span.
func (w *writer) time(t time.Time) *writer {
	return w.raw("<time").attr("datetime", machine(t)).raw(">").text(human(t)).raw(`</time> <span class="ago"></span>`)
}

// json writes a value into a script element: the encoder escapes what could end that.
func (w *writer) json(v any) *writer {
	if w.err == nil {
		w.err = w.enc.Encode(v)
	}
	return w
}

// int writes a number into a script element.
func (w *writer) int(n int64) *writer {
	if w.err == nil {
		_, w.err = w.out.Write(strconv.AppendInt(w.out.AvailableBuffer(), n, 10))
	}
	return w
}

func (w *writer) flush() error {
	if w.err != nil {
		return w.err
	}
	return w.out.Flush()
}
