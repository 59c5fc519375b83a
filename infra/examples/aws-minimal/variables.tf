variable "zip_file" {
  description = "Path of the function's zip. null: what make package builds."
  type        = string
  default     = null
}
