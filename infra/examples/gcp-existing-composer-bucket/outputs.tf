output "next" {
  description = "What to run after the first apply."
  value       = [module.dagbucket.fill_token_command, module.dagbucket.first_run_command]
}
