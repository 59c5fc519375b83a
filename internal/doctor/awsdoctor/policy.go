package awsdoctor

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
)

// words is one text, or a list of texts, as policies have both.
type words []string

// UnmarshalJSON reads either.
func (w *words) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*w = words{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(w))
}

// statement is as much of a policy's statement as is looked at.
type statement struct {
	Effect    string
	Principal principal
	Action    words
	Condition map[string]map[string]words
}

// statements is one, or a list.
type statements []statement

// UnmarshalJSON reads either.
func (s *statements) UnmarshalJSON(data []byte) error {
	var one statement
	if json.Unmarshal(data, &one) == nil {
		*s = statements{one}
		return nil
	}
	return json.Unmarshal(data, (*[]statement)(s))
}

type principal struct {
	all      bool
	services words
}

// UnmarshalJSON reads "*", or an object of kinds.
func (p *principal) UnmarshalJSON(data []byte) error {
	var kinds map[string]words
	if json.Unmarshal(data, &kinds) != nil {
		p.all = string(data) == `"*"`
		return nil
	}
	p.all = slices.Contains(kinds["AWS"], "*")
	p.services = kinds["Service"]
	return nil
}

// maySend reports whether a queue's policy lets a service send there for a source; "" is any. It looks at Allow statements, and at their
// conditions on aws:SourceArn: what else they ask for is taken to hold.
func maySend(policy, service, source string) bool {
	var document struct{ Statement statements }
	if json.Unmarshal([]byte(policy), &document) != nil {
		return false
	}
	return slices.ContainsFunc(document.Statement, func(s statement) bool {
		return s.Effect == "Allow" && (s.Principal.all || slices.Contains(s.Principal.services, service)) &&
			matchesAny(s.Action, "sqs:SendMessage") && s.isFor(source)
	})
}

func (s statement) isFor(source string) bool {
	for operator, keys := range s.Condition {
		for key, values := range keys {
			if source != "" && strings.EqualFold(key, "aws:SourceArn") && !strings.Contains(operator, "Not") && !matchesAny(values, source) {
				return false
			}
		}
	}
	return true
}

// matchesAny compares as policies do: * stands for anything, without regard to case for actions.
func matchesAny(patterns []string, text string) bool {
	// Neither actions nor buckets' ARNs hold a slash, at which path.Match would stop.
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(strings.ToLower(p), strings.ToLower(text))
		return err == nil && ok
	})
}
