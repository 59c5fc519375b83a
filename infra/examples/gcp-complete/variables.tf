variable "project" {
  description = "ID of the Google Cloud project."
  type        = string
  default     = "acme-data"
}

variable "zip_file" {
  description = "Package of the function; null is what `make package` built."
  type        = string
  default     = null
}
