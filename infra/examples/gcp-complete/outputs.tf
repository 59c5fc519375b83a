output "before" {
  description = "Commands to run before the first apply, in a project that is new to these services."
  value       = module.dagbucket.prepare_commands
}

output "next" {
  description = "Bash commands to run after the first apply."
  value       = module.dagbucket.next_commands
}
