output "next" {
  description = "What to run after apply: connect the buckets, run once."
  value       = concat(values(module.dagbucket.connect_bucket_commands), [module.dagbucket.first_run_command])
}

output "other_account" {
  description = "What the account of ml-team-dags adds to its bucket's and its key's policies."
  value       = module.dagbucket.other_account_bucket_policies
}
