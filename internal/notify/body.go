package notify

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/dagbucket/dagbucket/internal/state"
)

// body is a notice as programs get it. All fields are always there; new ones may come.
type body struct {
	ID         string             `json:"id"` // the same however often it is sent
	Kind       string             `json:"kind"`
	At         time.Time          `json:"at"`
	Route      string             `json:"route"`
	Deployment string             `json:"deployment"`
	URL        string             `json:"url"`
	Reason     string             `json:"reason"`
	Run        string             `json:"run"`
	DeployID   string             `json:"deployId"`
	Files      []state.NoticeFile `json:"files"` // the first of them
	Total      int                `json:"total"` // files
	Text       string             `json:"text"`  // as people get it
}

// maxWords bounds reasons and messages in it, in bytes. Paths are as long as they are.
const maxWords = 2_000

// Body is the JSON of a notice. It depends on nothing else, so that it is the same however often it is sent.
func Body(n *state.Notice) []byte {
	b := body{
		ID: n.ID, Kind: n.Kind, At: n.At.UTC(), Route: n.Route, Deployment: n.Deployment, URL: n.URL, Reason: cut(n.Reason, maxWords),
		Run: n.Run, DeployID: n.DeployID, Files: []state.NoticeFile{}, Total: total(n), Text: Text(n),
	}
	for _, f := range n.Files {
		f.Message = cut(f.Message, maxWords)
		b.Files = append(b.Files, f)
	}
	return encode(b)
}

// SlackBody is the JSON of a notice as Slack's incoming webhooks take it.
func SlackBody(n *state.Notice) []byte {
	return encode(struct {
		Text string `json:"text"`
	}{Slack(n)})
}

// encode writes JSON for programs, not for web pages. Nothing in it can fail.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
