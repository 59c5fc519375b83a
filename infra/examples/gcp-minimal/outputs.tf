output "fill_token_command" {
  description = "What to run after the first apply."
  value       = module.dagbucket.fill_token_command
}

output "first_run_command" {
  description = "And then this."
  value       = module.dagbucket.first_run_command
}
