package bucket

import "path"

// ContentType is how a browser is to take what is stored under a key. What it is to open must be asked for anew each time.
func ContentType(key string) (contentType, cacheControl string) {
	switch path.Ext(key) {
	case ".html":
		return "text/html; charset=utf-8", "no-cache"
	case ".json":
		return "application/json", "no-cache"
	case ".gz":
		return "application/gzip", ""
	}
	return "application/octet-stream", ""
}
