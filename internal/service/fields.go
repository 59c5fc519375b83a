package service

import (
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/dagbucket/dagbucket/internal/deployer"
)

// StepField is the summary line's field with the seconds of a step, such as secondsList or secondsImportErrors. It is there where the step ran. The fields lie side by
// side, and none has a dot in its name: CloudWatch reads metrics at the top level alone, and Cloud Logging takes a dot for a level.
func StepField(step string) string { return "seconds" + capital(step) }

// RequestField is the field with the number of requests of a kind, such as requestsList.
func RequestField(kind string) string { return "requests" + capital(kind) }

func capital(words string) (joined string) {
	for word := range strings.FieldsSeq(words) {
		joined += strings.ToUpper(word[:1]) + word[1:]
	}
	return joined
}

func stepFields(r deployer.Result) (fields []slog.Attr) {
	for _, step := range slices.Sorted(maps.Keys(r.Seconds)) {
		fields = append(fields, slog.Float64(StepField(step), r.Seconds[step]))
	}
	return fields
}

func requestFields(r deployer.Result) (fields []slog.Attr) {
	for _, kind := range slices.Sorted(maps.Keys(r.Requests)) {
		fields = append(fields, slog.Int64(RequestField(kind), r.Requests[kind]))
	}
	return fields
}
