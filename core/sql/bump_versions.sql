merge into versions as v
using (select unnest($names) as scope) as n
on v.scope = n.scope
when matched then update set version = v.version + 1
when not matched then insert values (n.scope, 1)
