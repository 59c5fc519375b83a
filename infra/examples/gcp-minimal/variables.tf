variable "zip_file" {
  description = "Package of the function; null is what `make package` built."
  type        = string
  default     = null
}
