package selection

import "strings"

// excludedFiles, by the last segment of their path; "*" in a pattern stands for anything. The list names only what a tool keeps for
// itself, never what a person may have called a DAG or its data: "*.tmp", "*.bak" and "*.part", for instance, are shipped.
var excludedFiles = []struct{ pattern, what string }{
	{"*.pyc", "Python bytecode"},
	{".DS_Store", "folder settings of macOS"},
	{"._*", "a resource fork of macOS"}, // "._x.py" lies beside x.py, and is no Python
	{"Thumbs.db", "folder settings of Windows"},
	{"desktop.ini", "folder settings of Windows"},
	{"*~", "an editor's backup copy"},
	{".*.swp", "vim's copy of an open file"},
	{".*.swo", "vim's copy of an open file"},
	{".*.swn", "vim's copy of an open file"},
	{".*.swm", "vim's copy of an open file"},
	{".*.swx", "vim's copy of an open file"},
	{"4913", "vim's test whether it can write here"},
	{".*.swpx", "vim's test of how long names may be"},
	{".*.kate-swp", "Kate's copy of an open file"},
	{".#*", "Emacs' lock of an open file"},
	{"#*#", "Emacs' copy of an open file"},
	{".goutputstream-*", "an unfinished file of a GNOME application"},
	{"*___jb_tmp___", "an unfinished file of a JetBrains editor"},
	{"*___jb_old___", "an unfinished file of a JetBrains editor"},
	{".~lock.*#", "LibreOffice's lock of an open file"},
	{"~$*", "Microsoft Office's lock of an open file"},
	{"*_.gstmp", "an unfinished download of gsutil or gcloud"},
	{".dagbucket-*.tmp", "an unfinished file of dagbucket"},
	{"*.filepart", "an unfinished file of WinSCP"},
	{".syncthing.*.tmp", "an unfinished file of Syncthing"},
	{"~syncthing~*.tmp", "an unfinished file of Syncthing"},
	{".fuse_hidden*", "a deleted file that was still open on a FUSE mount"},
}

// excludedFolders are left out with everything below them, wherever they are.
var excludedFolders = map[string]string{
	"__pycache__":        "Python bytecode",
	".git":               "part of a Git repository",
	".ipynb_checkpoints": "Jupyter's copy of a file", // Airflow would load a DAG file's copy beside the original
	".gcsfuse_tmp":       "an unfinished file of gcsfuse",
	".~tmp~":             "an unfinished file of rsync",
	".stversions":        "an old version that Syncthing keeps",
}

// compositeParts is where gcloud puts the parts of a large upload until it joins them, from the root of the bucket.
const compositeParts = "gcloud/tmp/parallel_composite_uploads/"

// excluded says what rel is if it is on the fixed list, else "".
func excluded(rel string, size int64) string {
	rest := rel
	for {
		folder, below, found := strings.Cut(rest, "/")
		if !found {
			break
		}
		if what := excludedFolders[folder]; what != "" {
			return what
		}
		rest = below
	}
	switch {
	case rel == IgnoreFile:
		return "for dagbucket itself"
	case strings.HasPrefix(rel, compositeParts):
		return "an unfinished upload of gcloud"
	case size == 0 && strings.HasSuffix(rel, "_$folder$"):
		return "a placeholder for a folder (of Hadoop)"
	}
	return excludedName(rest)
}

func excludedName(name string) string {
	for _, e := range excludedFiles {
		before, after, starred := strings.Cut(e.pattern, "*")
		if name == e.pattern || starred && len(name) >= len(before)+len(after) &&
			strings.HasPrefix(name, before) && strings.HasSuffix(name, after) {
			return e.what
		}
	}
	// Two that a pattern cannot tell from a person's names.
	if whole, ok := strings.CutSuffix(name, ".partial"); ok && len(whole) > 9 && whole[len(whole)-9] == '.' && isHex(whole[len(whole)-8:]) {
		return "an unfinished file of rclone"
	}
	if handle, ok := strings.CutPrefix(name, ".nfs"); ok && len(handle) >= 16 && isHex(handle) {
		return "a deleted file that was still open on an NFS mount"
	}
	return ""
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
