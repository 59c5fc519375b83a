output "next" {
  description = "Bash commands to run after the first apply."
  value       = module.dagbucket.next_commands
}
