package cloudrunhandler

import "log/slog"

// LogAttr gives the lines of a slog.JSONHandler the names that Cloud Logging knows
// (cloud.google.com/logging/docs/structured-logging): severity and message.
func LogAttr(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.MessageKey:
		a.Key = "message"
	case slog.LevelKey:
		severity := "INFO"
		switch level, _ := a.Value.Any().(slog.Level); {
		case level >= slog.LevelError:
			severity = "ERROR"
		case level >= slog.LevelWarn:
			severity = "WARNING"
		case level < slog.LevelInfo:
			severity = "DEBUG"
		}
		return slog.String("severity", severity)
	}
	return a
}
