output "function_name" {
  description = "Name of the function."
  value       = module.dagbucket.function_name
}
