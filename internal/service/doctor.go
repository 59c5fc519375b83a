package service

// Python is the newest Python that DAGs of an Astro Runtime version may run on, which their syntax is checked for; "" if it is not known.
func Python(runtimeVersion string) string { return pythonOf(runtimeVersion) }
