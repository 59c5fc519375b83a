output "next" {
  description = "Bash commands to run after the first apply."
  value       = module.dagbucket.next_commands
}

output "other_account" {
  description = "What the account of each foreign bucket adds to its bucket's and its key's policies, and the command that it runs then."
  value = { for bucket, policies in module.dagbucket.other_account_bucket_policies : bucket => {
    policies = policies
    connect  = module.dagbucket.connect_bucket_commands[bucket]
  } }
}
